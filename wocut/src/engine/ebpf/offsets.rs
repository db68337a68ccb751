//! Where the running kernel keeps the fields of `struct sock` that programs read, from its own type information.
//!
//! The file is 7 MB, and reading three numbers from it must not cost more than the rest of an `attach`: one pass over
//! the types takes 3 ms, where building an index of every name, as libraries do, takes 100 ms.
//!
//! Format: <https://docs.kernel.org/bpf/btf.html>

use std::sync::OnceLock;

use wocut_common::Offsets;

use crate::sys::kernel_types;

/// What the loader has to know of the running kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct KernelTypes {
    /// All 0 where the kernel has no type information.
    pub(super) offsets: Offsets,
    /// Whether an `sk_lookup` program may look at the interface (Linux 5.17).
    pub(super) lookup_has_interface: bool,
}

impl KernelTypes {
    /// Of the running kernel, read once.
    pub(super) fn running() -> Self {
        static RUNNING: OnceLock<KernelTypes> = OnceLock::new();
        *RUNNING.get_or_init(|| {
            let Ok(file) = kernel_types::open() else { return Self::default() };
            Types::parse(&file).and_then(|types| Self::of(&types)).unwrap_or_default()
        })
    }

    fn of(types: &Types<'_>) -> Option<Self> {
        // A `struct tcp_sock` begins with its `inet_connection_sock`, that with its `sock`, that with its `sock_common`.
        let names = [&b"sock_common"[..], b"sock", b"inet_connection_sock", b"request_sock_queue"];
        let [common, sock, connection, queue] = types.find_structs(names)?;
        let [net, ipv4, ns, lookup] =
            types.find_structs([&b"net"[..], b"netns_ipv4", b"ns_common", b"bpf_sk_lookup"])?;
        let offsets = Offsets {
            ack_backlog: types.offset(sock, b"sk_ack_backlog")?,
            max_ack_backlog: types.offset(sock, b"sk_max_ack_backlog")?,
            syn_queue: types.offset(connection, b"icsk_accept_queue")? + types.offset(queue, b"qlen")?,
            flags: types.offset(common, b"skc_flags")?,
            error: types.offset(sock, b"sk_err")?,
            net: types.offset(common, b"skc_net")?,
            net_inode: types.offset(net, b"ns")? + types.offset(ns, b"inum")?,
            syn_cookies: types.offset(net, b"ipv4")? + types.offset(ipv4, b"sysctl_tcp_syncookies")?,
            state: types.offset(common, b"skc_state")?,
            family: types.offset(common, b"skc_family")?,
            port: types.offset(common, b"skc_num")?,
            device: types.offset(common, b"skc_bound_dev_if")?,
            address_v4: types.offset(common, b"skc_rcv_saddr")?,
            address_v6: types.offset(common, b"skc_v6_rcv_saddr")?,
        };
        let lookup_has_interface = types.offset(lookup, b"ingress_ifindex").is_some();
        Some(Self { offsets, lookup_has_interface })
    }
}

const STRUCT: u32 = 4;
const UNION: u32 = 5;

/// The types of a BTF file, by where they stand in it.
struct Types<'a> {
    file: &'a [u8],
    strings: usize,
    /// Where type `n` stands is at `n - 1`; 0 is void.
    starts: Vec<usize>,
}

impl<'a> Types<'a> {
    fn parse(file: &'a [u8]) -> Option<Self> {
        let header = word(file, 4)?;
        let section = |at: usize| header.checked_add(word(file, at)?);
        let (mut at, strings) = (section(8)?, section(16)?);
        let end = at.checked_add(word(file, 12)?)?;
        let mut starts = Vec::new();
        while at < end {
            starts.push(at);
            let (kind, members) = kind(file, at)?;
            // What follows the three words that every type begins with.
            at += 12
                + match kind {
                    1 | 14 | 17 => 4,
                    3 => 12,
                    STRUCT | UNION | 15 | 19 => 12 * members,
                    6 | 13 => 8 * members,
                    _ => 0,
                };
        }
        Some(Self { file, strings, starts })
    }

    /// The structures of these names, in one pass.
    fn find_structs<const N: usize>(&self, names: [&[u8]; N]) -> Option<[usize; N]> {
        let mut found = [None; N];
        let structs =
            self.starts.iter().filter(|&&at| kind(self.file, at).is_some_and(|(kind, _)| kind == STRUCT));
        for &at in structs {
            for (place, name) in found.iter_mut().zip(names) {
                if place.is_none() && self.has_name(at, name) {
                    *place = Some(at);
                }
            }
            if found.iter().all(Option::is_some) {
                break;
            }
        }
        let found: Vec<usize> = found.into_iter().collect::<Option<_>>()?;
        found.try_into().ok()
    }

    fn has_name(&self, at: usize, name: &[u8]) -> bool {
        let start = word(self.file, at).and_then(|offset| self.strings.checked_add(offset));
        let rest = start.and_then(|start| self.file.get(start..));
        rest.and_then(|rest| rest.strip_prefix(name)).is_some_and(|rest| rest.first() == Some(&0))
    }

    /// Byte offset of a member, looked for in nameless members too.
    fn offset(&self, structure: usize, name: &[u8]) -> Option<u32> {
        let (_, members) = kind(self.file, structure)?;
        (0..members).map(|n| structure + 12 + 12 * n).find_map(|member| {
            // The upper byte of an offset is the width of a bit field, where a structure has those.
            let offset = u32::try_from(word(self.file, member + 8)? & 0x00ff_ffff).ok()? / 8;
            if self.has_name(member, name) {
                return Some(offset);
            }
            let inner = *self.starts.get(word(self.file, member + 4)?.checked_sub(1)?)?;
            let nameless = self.has_name(member, b"") && matches!(kind(self.file, inner)?.0, STRUCT | UNION);
            nameless.then(|| self.offset(inner, name)).flatten().map(|deeper| offset + deeper)
        })
    }
}

/// Kind and number of members of the type that stands at `at`.
fn kind(file: &[u8], at: usize) -> Option<(u32, usize)> {
    let info = word(file, at + 4)?;
    Some((u32::try_from(info >> 24 & 0x1f).ok()?, info & 0xffff))
}

fn word(file: &[u8], at: usize) -> Option<usize> {
    let bytes = file.get(at..)?.first_chunk::<4>()?;
    usize::try_from(u32::from_ne_bytes(*bytes)).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{KernelTypes, Offsets, Types};

    #[test]
    fn a_kernel_with_type_information_tells_all_offsets() {
        let KernelTypes { offsets, .. } = KernelTypes::running();
        if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
            assert_eq!(offsets, Offsets::default());
            return;
        }
        assert_eq!(offsets.max_ack_backlog, offsets.ack_backlog + 4);
        assert!(offsets.address_v6 > offsets.state && offsets.state > offsets.family);
        assert!(offsets.syn_queue > offsets.ack_backlog && offsets.net_inode > 0 && offsets.syn_cookies > 0);
    }

    proptest! {
        #[test]
        fn any_file_is_read_without_a_panic(file in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Some(types) = Types::parse(&file) {
                prop_assert!(KernelTypes::of(&types).is_none());
            }
        }
    }
}
