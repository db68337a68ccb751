//! Who serves: sockets in a place, and threads that answer on them, all on the servers' core.

mod datagrams;
mod echo;
mod sockets;
mod workers;

pub(super) use self::datagrams::Datagrams;
pub(super) use self::echo::{BULK, Echo};
pub(super) use self::sockets::{Kind, datagram_sockets, listeners};
pub(super) use self::workers::{Work, Workers};
