//! Crash tests: the store on a simulated disk and tree, against itself on ones that never fail.

mod crashes;
mod faults;
mod flips;
mod rig;
