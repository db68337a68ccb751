//! The little of netlink that conntrack, socket diagnostics, addresses, rules and tables take.

use std::io;

use netlink_sys::{Socket, SocketAddr};

/// Length of `struct nlmsghdr`.
const HEADER: usize = 16;
// From linux/netlink.h.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;

/// Room for a datagram: more than the kernel puts into one of a dump.
const DATAGRAM: usize = 64 * 1024;

/// IPv4.
pub const AF_INET: u8 = 2;
/// IPv6.
pub const AF_INET6: u8 = 10;
/// An attribute that holds attributes has this in its type.
const NESTED: u16 = 1 << 15;
/// Its value is in network order.
const NETWORK_ORDER: u16 = 1 << 14;

/// Asks for all of something, and hands over the body of each answer.
pub fn dump(protocol: isize, kind: u16, request: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
    let socket = open(protocol)?;
    socket.send_to(&message(kind, NLM_F_REQUEST | NLM_F_DUMP, request), &SocketAddr::new(0, 0), 0)?;
    let mut buffer = Vec::new();
    loop {
        for (kind, body) in messages(receive(&socket, &mut buffer)?) {
            match kind {
                NLMSG_DONE => return Ok(()),
                NLMSG_ERROR => return Err(error(body)),
                _ => each(body),
            }
        }
    }
}

/// Reads the next datagram of a dump. The kernel fills as much as it is read with, up to 32 KiB: with room for that, a long
/// list comes in a few calls.
pub(super) fn receive<'a>(socket: &Socket, buffer: &'a mut Vec<u8>) -> io::Result<&'a [u8]> {
    buffer.clear();
    buffer.reserve(DATAGRAM);
    let length = socket.recv(buffer, libc::MSG_TRUNC)?;
    buffer.get(..length).ok_or_else(|| io::Error::other(format!("an answer of {length} bytes")))
}

/// Sends requests, many in one datagram, and waits for no answer.
pub fn send(protocol: isize, kind: u16, requests: &[Vec<u8>]) -> io::Result<()> {
    const BATCH: usize = 256;
    let socket = open(protocol)?;
    for batch in requests.chunks(BATCH) {
        let messages: Vec<u8> =
            batch.iter().flat_map(|request| message(kind, NLM_F_REQUEST, request)).collect();
        socket.send_to(&messages, &SocketAddr::new(0, 0), 0)?;
    }
    Ok(())
}

/// Sends one request and waits for what the kernel says to it.
pub fn ask(protocol: isize, kind: u16, request: &[u8]) -> io::Result<()> {
    let socket = open(protocol)?;
    socket.send_to(&message(kind, NLM_F_REQUEST | NLM_F_ACK, request), &SocketAddr::new(0, 0), 0)?;
    let (datagram, _) = socket.recv_from_full()?;
    match messages(&datagram).first() {
        Some((NLMSG_ERROR, body)) if error(body).raw_os_error() != Some(0) => Err(error(body)),
        _ => Ok(()),
    }
}

fn open(protocol: isize) -> io::Result<Socket> {
    let mut socket = Socket::new(protocol)?;
    socket.bind_auto()?;
    Ok(socket)
}

fn message(kind: u16, flags: u16, body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(HEADER + body.len()).unwrap_or_default();
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(kind.to_ne_bytes());
    message.extend(flags.to_ne_bytes());
    // Sequence and port.
    message.extend([0; 8]);
    message.extend(body);
    message.resize(message.len().next_multiple_of(4), 0);
    message
}

/// Splits a datagram into messages: type, and what follows the header.
fn messages(mut bytes: &[u8]) -> Vec<(u16, &[u8])> {
    let mut found = Vec::new();
    while let Some((length, kind)) = header(bytes) {
        let Some(body) = bytes.get(HEADER..length) else { break };
        found.push((kind, body));
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    found
}

fn header(bytes: &[u8]) -> Option<(usize, u16)> {
    let length = u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?);
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    Some((usize::try_from(length).ok()?, kind))
}

/// The attributes in a body: type, and value.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & !(NESTED | NETWORK_ORDER), value))
    })
}

/// The attribute of that type.
pub fn attribute(bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

/// A value that is one number in the machine's order.
pub fn number(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}

/// A value that is text, without its final NUL.
pub fn text(value: &[u8]) -> String {
    let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
    String::from_utf8_lossy(&value[..end]).into_owned()
}

fn error(body: &[u8]) -> io::Error {
    let code = body.get(..4).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
    io::Error::from_raw_os_error(code.wrapping_neg())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{attributes, error, message, messages};

    #[test]
    fn messages_survive_a_round_trip() {
        let datagram = [message(20, 1, &[1, 2, 3]), message(21, 1, &[4; 8])].concat();
        assert_eq!(messages(&datagram), [(20, &[1, 2, 3][..]), (21, &[4; 8][..])]);
    }

    #[test]
    fn an_error_is_the_systems() {
        assert_eq!(error(&(-1i32).to_ne_bytes()).raw_os_error(), Some(1));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(messages(&bytes).len() <= 200);
            prop_assert!(attributes(&bytes).count() <= 200);
        }
    }
}
