//! What the end-to-end tests share; the tests themselves stand in `tests/`, a file for each subject.
//!
//! They start the real programs with the helper of the demo (`storemesh_sim::live`), so what is
//! tested is what is shown. Each test has a chain of its own in a folder of its own, on ports that
//! the system chose: they run side by side.

pub mod fuzz;
pub mod shop;
pub mod small_disk;
pub mod wall_clock;

pub mod saying;

pub mod need;
