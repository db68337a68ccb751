//! What starts an instance, brings it into its service, and ends it: for `run` and `cluster`.
//!
//! [`ports`] finds a port, [`launch`] starts a [`Program`] on it and waits until it serves, [`Pool`] is its service: who
//! comes into it and who leaves. [`notify`] hears what a program says of itself. [`see_off`] ends a process when its last
//! connection is gone. [`run`] does all of it for one program at a time.
//!
//! Whoever is killed in the middle leaves processes that serve, each noted with its instance: the next one sees them
//! off.

pub mod launch;
mod listens;
pub mod notify;
mod pool;
pub mod ports;
mod program;
pub mod run;
mod see_off;

pub use pool::Pool;
pub use program::Program;
pub(crate) use see_off::left_alone;
pub use see_off::{Patience, see_off};
