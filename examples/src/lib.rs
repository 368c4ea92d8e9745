//! Examples of the hub. Each is a small program of its own; see the README of the project.
