//! Who asks: load generators, each one thread on the clients' core.

mod arrivals;
mod connect;
mod datagrams;
mod open;
mod open_loop;

pub(super) use self::connect::connect;
pub(super) use self::datagrams::exchange;
pub(super) use self::open::{Way, converse};
pub(super) use self::open_loop::{Load, ask};
