//! Errors about replies: an ICMP message names the packet that it is about by the first bytes of it, and a reply that
//! left from a service's port names a port there that no socket has. With the instance's own in its place the daemon
//! learns that its client is gone, and the kernel how large its datagrams to that client may be.

use aya_ebpf::{
    bindings::__sk_buff,
    helpers::generated::{bpf_l4_csum_replace, bpf_skb_store_bytes},
};
use wocut_common::{FAMILY_V4, FAMILY_V6, PROTOCOL_UDP};

use crate::{
    kernel::{Tuple, field},
    maps::FLOWS,
    packet::{ETH_P_IP, ETH_P_IPV6, load, network_header, skip_extensions, word},
};

const ICMP: u8 = 1;
const ICMPV6: u8 = 58;
/// Of IPv4: destination unreachable (too large, too), time exceeded, parameter problem.
const ERRORS_V4: [u8; 3] = [3, 11, 12];
/// Of IPv6: the first four types, and all others are no errors, or not known.
const LAST_ERROR_V6: u8 = 4;
/// Length of the header of an error.
const HEADER: u32 = 8;

/// Which reply an error is about, and where it says so: offsets from the network header on.
struct About {
    tuple: Tuple,
    /// Of the header of the error.
    header: u32,
    /// Of the source port of the reply.
    port: u32,
}

/// Makes an error about a reply of a service one about the instance's. Returns 0, because it has to be a number.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn translate_error(skb: *mut __sk_buff) -> u32 {
    let Some(about) = read(skb) else { return 0 };
    let Some(flow) = FLOWS.get_ptr(about.tuple.flow_key()) else { return 0 };
    // SAFETY: it is copied out at once.
    let new = unsafe { (*flow).port as u16 }.to_be();
    let Some(network) = network_header(skb) else { return 0 };
    let old = u64::from(about.tuple.local_port.to_be());
    // SAFETY: the helpers check the offsets. Nobody looks at the checksum of a packet of which this is the beginning.
    unsafe {
        if bpf_l4_csum_replace(skb, network + about.header + 2, old, new.into(), 2) == 0 {
            bpf_skb_store_bytes(skb, network + about.port, (&raw const new).cast(), 2, 0);
        }
    }
    0
}

#[inline(always)]
fn read(skb: *mut __sk_buff) -> Option<About> {
    let (family, header, local, remote, transport) =
        match u32::from(u16::from_be(field!(skb, protocol) as u16)) {
            ETH_P_IP => {
                let outer: [u8; 20] = load(skb, 0)?;
                let header = u32::from(outer[0] & 0xf) * 4;
                if outer[9] != ICMP || is_later_fragment(&outer) || header < 20 {
                    return None;
                }
                let [kind] = load(skb, header)?;
                let inner: [u8; 20] = load(skb, header + HEADER)?;
                if !ERRORS_V4.contains(&kind) || inner[9] != PROTOCOL_UDP || is_later_fragment(&inner) {
                    return None;
                }
                let transport = header + HEADER + u32::from(inner[0] & 0xf) * 4;
                (FAMILY_V4, header, [word(&inner, 12), 0, 0, 0], [word(&inner, 16), 0, 0, 0], transport)
            }
            ETH_P_IPV6 => {
                let [next] = load(skb, 6)?;
                let [kind] = load(skb, 40)?;
                if next != ICMPV6 || kind == 0 || kind > LAST_ERROR_V6 {
                    return None;
                }
                let inner: [u8; 40] = load(skb, 40 + HEADER)?;
                let (protocol, transport) = skip_extensions(skb, inner[6], 40 + HEADER + 40)?;
                if protocol != PROTOCOL_UDP {
                    return None;
                }
                let address = |at: usize| core::array::from_fn(|n| word(&inner, at + 4 * n));
                (FAMILY_V6, 40, address(8), address(24), transport)
            }
            _ => return None,
        };
    let [s0, s1, d0, d1] = load(skb, transport)?;
    let (local_port, remote_port) = (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    let tuple = Tuple { family, remote, remote_port, local, local_port, protocol: PROTOCOL_UDP };
    Some(About { tuple, header, port: transport })
}

/// Whether this is a header of IPv4 with no transport header behind it.
#[inline(always)]
fn is_later_fragment(header: &[u8; 20]) -> bool {
    u16::from_be_bytes([header[6], header[7]]) & 0x1fff != 0
}
