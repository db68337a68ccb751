//! Packets as `ingress` and `egress` see them: read, and a port of them written.
//!
//! Headers are read relative to the network header, so that interfaces with and without Ethernet headers are the same.
//! Only the first fragment of a datagram carries ports. The checksum of a datagram covers its ports and not where it
//! was cut, so changing a port in the first fragment leaves the others valid.

use aya_ebpf::{
    bindings::{__sk_buff, BPF_F_MARK_MANGLED_0},
    helpers::generated::{
        bpf_l4_csum_replace, bpf_skb_load_bytes, bpf_skb_load_bytes_relative, bpf_skb_store_bytes,
    },
};
use wocut_common::{FAMILY_V4, FAMILY_V6, PROTOCOL_TCP, PROTOCOL_UDP};

use crate::kernel::{Tuple, field};

pub(crate) const ETH_P_IP: u32 = 0x0800;
pub(crate) const ETH_P_IPV6: u32 = 0x86dd;
/// `BPF_HDR_START_NET`.
const FROM_NETWORK_HEADER: u32 = 1;
const ETHERNET_HEADER: u32 = 14;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// Extension headers of IPv6 that are walked over: one of each kind that may come before TCP or UDP.
const MAX_EXTENSIONS: usize = 4;

/// `tcp_flag_byte`.
pub(crate) mod flags {
    pub(crate) const FIN: u8 = 1;
    pub(crate) const SYN: u8 = 2;
    pub(crate) const RST: u8 = 4;
    pub(crate) const ACK: u8 = 16;
}

/// A TCP or UDP packet.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Packet {
    /// Both ends.
    pub(crate) tuple: Tuple,
    /// Of TCP.
    pub(crate) flags: u8,
    /// Payload of a datagram, with all its fragments.
    pub(crate) length: u16,
    /// Where the transport header is, from the network header on.
    pub(crate) transport: u32,
    /// Port of the instance that a datagram was taken by.
    pub(crate) port: u32,
    /// Id of that instance.
    pub(crate) instance: u32,
}

/// Which end of a packet is this host's.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Destination,
    Source,
}

impl Packet {
    /// Reads the headers. `None`: not TCP or UDP, cut short, or a fragment without ports.
    #[inline(always)]
    pub(crate) fn read(skb: *mut __sk_buff, local: Side) -> Option<Self> {
        let (family, protocol, transport, source, destination) =
            match u32::from(u16::from_be(field!(skb, protocol) as u16)) {
                ETH_P_IP => {
                    let header: [u8; 20] = load(skb, 0)?;
                    let offset = u16::from_be_bytes([header[6], header[7]]) & 0x1fff;
                    if offset != 0 || header[0] >> 4 != 4 || header[0] & 0xf < 5 {
                        return None;
                    }
                    let transport = u32::from(header[0] & 0xf) * 4;
                    let (source, destination) = ([word(&header, 12), 0, 0, 0], [word(&header, 16), 0, 0, 0]);
                    (FAMILY_V4, header[9], transport, source, destination)
                }
                ETH_P_IPV6 => {
                    let header: [u8; 40] = load(skb, 0)?;
                    if header[0] >> 4 != 6 {
                        return None;
                    }
                    let (protocol, transport) = skip_extensions(skb, header[6], 40)?;
                    let address = |at: usize| core::array::from_fn(|n| word(&header, at + 4 * n));
                    (FAMILY_V6, protocol, transport, address(8), address(24))
                }
                _ => return None,
            };
        let (length, flags) = match protocol {
            PROTOCOL_TCP => (0, load::<14>(skb, transport)?[13]),
            PROTOCOL_UDP => {
                let [_, _, _, _, high, low, ..] = load::<8>(skb, transport)?;
                (u16::from_be_bytes([high, low]).saturating_sub(8), 0)
            }
            _ => return None,
        };
        let [s0, s1, d0, d1] = load(skb, transport)?;
        let (source_port, destination_port) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
        let (remote, remote_port, local, local_port) = match local {
            Side::Destination => (source, source_port, destination, destination_port),
            Side::Source => (destination, destination_port, source, source_port),
        };
        let tuple = Tuple { family, remote, remote_port, local, local_port, protocol };
        Some(Self { tuple, flags, length, transport, port: 0, instance: 0 })
    }

    /// Writes this host's port of a datagram, and makes its checksum right again. Returns whether that was possible.
    #[inline(always)]
    pub(crate) fn write_local_port(&self, skb: *mut __sk_buff, local: Side, port: u16) -> bool {
        let Some(network) = network_header(skb) else { return false };
        let transport = network + self.transport;
        let at = transport + if local == Side::Source { 0 } else { 2 };
        let (old, new) = (u64::from(self.tuple.local_port.to_be()), port.to_be());
        let flags = u64::from(BPF_F_MARK_MANGLED_0) | 2;
        // SAFETY: the helpers check the offsets. The checksum goes first: a packet without one stays without.
        unsafe {
            bpf_l4_csum_replace(skb, transport + 6, old, new.into(), flags) == 0
                && bpf_skb_store_bytes(skb, at, (&raw const new).cast(), 2, 0) == 0
        }
    }
}

/// The protocol after the extension headers, the first of which is of this kind and in this place, and where it begins.
#[inline(always)]
pub(crate) fn skip_extensions(skb: *mut __sk_buff, first: u8, from: u32) -> Option<(u8, u32)> {
    let (mut next, mut at) = (first, from);
    for _ in 0..MAX_EXTENSIONS {
        let length = match next {
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                let [following, eights] = load(skb, at)?;
                next = following;
                8 * (u32::from(eights) + 1)
            }
            FRAGMENT => {
                let [following, _, high, low] = load(skb, at)?;
                if u16::from_be_bytes([high, low]) & 0xfff8 != 0 {
                    return None;
                }
                next = following;
                8
            }
            _ => break,
        };
        at += length;
    }
    Some((next, at))
}

/// Where the network header is from the start of the packet: writing helpers know nothing else.
#[inline(always)]
pub(crate) fn network_header(skb: *mut __sk_buff) -> Option<u32> {
    let network: [u8; 16] = load(skb, 0)?;
    let here = |at: u32| {
        let mut bytes = [0u8; 16];
        // SAFETY: the helper writes as many bytes as there are.
        let result = unsafe { bpf_skb_load_bytes(skb.cast(), at, bytes.as_mut_ptr().cast(), 16) };
        result == 0 && u128::from_ne_bytes(bytes) == u128::from_ne_bytes(network)
    };
    // An interface without Ethernet headers, a tunnel say, has packets that begin with the network header.
    if here(0) {
        return Some(0);
    }
    here(ETHERNET_HEADER).then_some(ETHERNET_HEADER)
}

/// Bytes from the network header on.
#[inline(always)]
pub(crate) fn load<const N: usize>(skb: *mut __sk_buff, at: u32) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the helper writes as many bytes as there are.
    let result = unsafe {
        bpf_skb_load_bytes_relative(skb.cast(), at, bytes.as_mut_ptr().cast(), N as u32, FROM_NETWORK_HEADER)
    };
    (result == 0).then_some(bytes)
}

#[inline(always)]
pub(crate) fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
