//! Examples of the hub: small programs, each with one question. The README of the project lists them.
