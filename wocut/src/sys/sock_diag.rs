//! The kernel's socket diagnostics: lists the TCP sockets of this network namespace, and ends them.

use std::{
    io,
    os::fd::{AsRawFd as _, BorrowedFd},
};

use anyhow::{Context as _, bail};
use netlink_packet_core::{
    DefaultNla, Emitable as _, NLA_F_NESTED, NLA_HEADER_SIZE, NLA_TYPE_MASK, NLM_F_ACK, NLM_F_DUMP,
    NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload, NetlinkSerializable, Nla as _,
    NlasIterator,
};
use netlink_packet_sock_diag::{
    SockDiagDestroy, SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP, SOCK_DIAG_BY_FAMILY},
    inet::{ExtensionFlags, InetRequest, InetResponse, SocketId, StateFlags, nlas::Nla},
};
use netlink_sys::{Socket, SocketAddr, protocols::NETLINK_SOCK_DIAG};

use super::netlink;

// From linux/inet_diag.h and linux/sock_diag.h.
const REQUEST_STORAGES: u16 = 2;
const REQUEST_MAP: u16 = 1;
const STORAGES: u16 = 20;
const STORAGE: u16 = 1;
const STORAGE_VALUE: u16 = 3;

/// All TCP sockets in one of these states, IPv4 first. Those that are there all the time are found; one that comes or
/// goes meanwhile may cost another its place in the list.
///
/// With a map of type `SK_STORAGE`, each comes with what is stored for it there: see [`storage`]. Linux 5.7, `CAP_BPF`.
pub(super) fn list(states: &StateFlags, map: Option<BorrowedFd<'_>>) -> anyhow::Result<Vec<InetResponse>> {
    let mut all = dump(request(AF_INET, states.clone(), SocketId::new_v4()), map)?;
    // A kernel without IPv6 answers as well: there are none.
    all.extend(dump(request(AF_INET6, states.clone(), SocketId::new_v6()), map)?);
    Ok(all)
}

fn dump(request: InetRequest, map: Option<BorrowedFd<'_>>) -> anyhow::Result<Vec<InetResponse>> {
    let socket = open().context("open a socket for socket diagnostics")?;
    let question = Question { request, storages: map.map(storages) };
    let payload = NetlinkPayload::InnerMessage(question);
    socket.send(&bytes(NLM_F_REQUEST | NLM_F_DUMP, payload), 0).context("ask the kernel for sockets")?;

    let (mut found, mut buffer) = (Vec::new(), Vec::new());
    loop {
        let mut rest = netlink::receive(&socket, &mut buffer).context("read sockets from the kernel")?;
        while !rest.is_empty() {
            let message = <NetlinkMessage<SockDiagMessage>>::deserialize(rest).context("read a socket")?;
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(response)) => {
                    found.push(*response);
                }
                NetlinkPayload::Done(_) => return Ok(found),
                NetlinkPayload::Error(error) => bail!("ask the kernel for sockets: {error}"),
                _ => {}
            }
            let length = usize::try_from(message.header.length)?.next_multiple_of(4);
            rest = rest.get(length.max(4)..).unwrap_or_default();
        }
    }
}

/// What a socket of a [`list`] has in the map that was asked for.
pub(super) fn storage(response: &InetResponse) -> Option<Vec<u8>> {
    let storages = response.nlas.iter().find_map(|nla| match nla {
        Nla::Other(other) if other.kind() & NLA_TYPE_MASK == STORAGES => {
            let mut value = vec![0; other.value_len()];
            other.emit_value(&mut value);
            Some(value)
        }
        _ => None,
    })?;
    attribute(attribute(&storages, STORAGE)?, STORAGE_VALUE).map(<[u8]>::to_vec)
}

/// The value of the first attribute of that kind.
fn attribute(attributes: &[u8], kind: u16) -> Option<&[u8]> {
    let found = NlasIterator::new(attributes).map_while(Result::ok).find(|nla| nla.kind() == kind)?;
    let length = usize::from(found.length());
    found.into_inner().get(NLA_HEADER_SIZE..length)
}

/// Ends sockets (`SOCK_DESTROY`), one after the other.
pub(super) struct Destroyer(Socket);

impl Destroyer {
    pub(super) fn new() -> io::Result<Self> {
        open().map(Self)
    }

    /// Ends a socket by the id that a [`list`] gave it, cookie included, so that it is this one or none. `NotFound`: it
    /// is gone already. `Unsupported`: the kernel is built without `CONFIG_INET_DIAG_DESTROY`.
    pub(super) fn destroy(&self, family: u8, id: &SocketId) -> io::Result<()> {
        let request = SockDiagMessage::InetRequest(request(family, StateFlags::all(), id.clone()));
        let payload = NetlinkPayload::InnerMessage(SockDiagDestroy::new(request));
        self.0.send(&bytes(NLM_F_REQUEST | NLM_F_ACK, payload), 0)?;
        let (datagram, _) = self.0.recv_from_full()?;
        let answer = <NetlinkMessage<SockDiagMessage>>::deserialize(&datagram).map_err(io::Error::other)?;
        match answer.payload {
            NetlinkPayload::Error(error) if error.raw_code() != 0 => Err(error.to_io()),
            _ => Ok(()),
        }
    }
}

fn open() -> io::Result<Socket> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    Ok(socket)
}

fn request(family: u8, states: StateFlags, socket_id: SocketId) -> InetRequest {
    InetRequest { family, protocol: IPPROTO_TCP, extensions: ExtensionFlags::empty(), states, socket_id }
}

fn bytes<T: NetlinkSerializable>(flags: u16, payload: NetlinkPayload<T>) -> Vec<u8> {
    let mut header = NetlinkHeader::default();
    header.flags = flags;
    let mut message = NetlinkMessage::new(header, payload);
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    bytes
}

/// A request with attributes, which the library's own has not.
struct Question {
    request: InetRequest,
    storages: Option<DefaultNla>,
}

/// Asks for what is stored in one map. The kernel looks the descriptor up while it takes the message.
fn storages(map: BorrowedFd<'_>) -> DefaultNla {
    let map = DefaultNla::new(REQUEST_MAP, map.as_raw_fd().to_ne_bytes().into());
    let mut value = vec![0; map.buffer_len()];
    map.emit(&mut value);
    DefaultNla::new(REQUEST_STORAGES | NLA_F_NESTED, value)
}

impl NetlinkSerializable for Question {
    fn message_type(&self) -> u16 {
        SOCK_DIAG_BY_FAMILY
    }

    fn buffer_len(&self) -> usize {
        self.request.buffer_len() + self.storages.as_slice().buffer_len()
    }

    fn serialize(&self, buffer: &mut [u8]) {
        let (request, storages) = buffer.split_at_mut(self.request.buffer_len());
        self.request.emit(request);
        self.storages.as_slice().emit(storages);
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use netlink_packet_core::{
        DefaultNla, Emitable as _, NLA_F_NESTED, NetlinkSerializable as _, Parseable as _,
    };
    use netlink_packet_sock_diag::{
        constants::AF_INET,
        inet::{InetResponse, SocketId, StateFlags},
    };

    use super::{Question, STORAGE, STORAGE_VALUE, STORAGES, attribute, request, storage, storages};

    #[test]
    fn a_map_is_asked_for_in_a_nested_attribute() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let storages = Some(storages(file.as_fd()));
        let question =
            Question { request: request(AF_INET, StateFlags::all(), SocketId::new_v4()), storages };
        let mut bytes = vec![0; question.buffer_len()];
        question.serialize(&mut bytes);
        // struct inet_diag_req_v2, then the attribute.
        let nested = attribute(&bytes[56..], 2).unwrap();
        let number = std::os::fd::AsRawFd::as_raw_fd(&file).to_ne_bytes();
        assert_eq!(attribute(nested, 1), Some(&number[..]));
        assert_eq!(attribute(nested, 3), None);
    }

    #[test]
    fn what_is_stored_is_read_from_its_nest() {
        let number = DefaultNla::new(2, 7u32.to_ne_bytes().into());
        let value = DefaultNla::new(STORAGE_VALUE, vec![1, 2, 3]);
        let one = DefaultNla::new(STORAGE | NLA_F_NESTED, bytes_of(&[number, value]));
        let storages = DefaultNla::new(STORAGES | NLA_F_NESTED, bytes_of(&[one]));
        let socket = bytes_of(&[DefaultNla::new(8, vec![0]), storages]);
        let mut response = vec![0; 72];
        response[0] = AF_INET;
        response.extend(socket);
        let response = InetResponse::parse(&response[..]).unwrap();
        assert_eq!(storage(&response), Some(vec![1, 2, 3]));
    }

    fn bytes_of(attributes: &[DefaultNla]) -> Vec<u8> {
        let mut bytes = vec![0; attributes.buffer_len()];
        attributes.emit(&mut bytes);
        bytes
    }
}
