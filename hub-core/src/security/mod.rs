//! Who may do what. Pure: time is an argument here too.
