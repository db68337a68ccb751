//! What `wocut cluster` does: keeps N workers of one command, each an instance with a port of its own.
//!
//! In reading order: [`machine`] has the rules, without I/O or clock, and [`rules`] what a user may set of them.
//! [`place`] has the files of a cluster, and keeps a second master of the same name out; [`control`] is how other
//! processes talk to the master. Of workers, [`memory`] knows what they use, in [`size`]s, [`output`] takes what they
//! print, and [`pin`] gives each a CPU. [`master`] feeds the machine and does what it wants, by its `workers`: the processes.

pub mod control;
mod lines;
pub mod machine;
pub mod master;
pub mod memory;
pub mod output;
pub mod pin;
pub mod place;
pub mod rules;
pub mod size;
mod state;
mod workers;
