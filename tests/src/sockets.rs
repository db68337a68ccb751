//! What the kernel says about the listeners of a namespace, by way of `ss`.

use crate::must::Must as _;
use crate::netns::Netns;
use crate::tool::run;

/// The accept queue of a listener.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AcceptQueue {
    /// Connections that wait to be accepted.
    pub length: u32,
    /// The backlog; one connection more than this fits in.
    pub limit: u32,
}

impl AcceptQueue {
    /// Whether the kernel puts no further connection in.
    pub fn is_full(self) -> bool {
        self.length > self.limit
    }
}

/// The accept queue of the listener on a port, or nothing if nobody listens there.
pub fn accept_queue(netns: &Netns, port: u16) -> Option<AcceptQueue> {
    let text = run(netns.command("ss").args(["-ltnH", &format!("sport = :{port}")]));
    let mut columns = text.lines().next()?.split_whitespace().skip(1);
    let mut number = || columns.next().and_then(|text| text.parse().ok()).must("read the queue from ss");
    Some(AcceptQueue { length: number(), limit: number() })
}

/// Whether a socket for datagrams is bound to a port, to any client.
pub fn has_udp(netns: &Netns, port: u16) -> bool {
    !run(netns.command("ss").args(["-lunH", &format!("sport = :{port}")])).trim().is_empty()
}
