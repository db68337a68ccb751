//! Where the running kernel keeps the fields of `struct sock` that programs read, from its own type information.
//!
//! The file is 7 MB, and reading three numbers from it must not cost more than the rest of an `attach`: one pass over
//! the types takes 3 ms, where building an index of every name, as libraries do, takes 100 ms.
//!
//! Format: <https://docs.kernel.org/bpf/btf.html>

/// Byte offsets in `struct sock`; 0 where the kernel has no type information.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offsets {
    pub(super) ack_backlog: u32,
    pub(super) max_ack_backlog: u32,
    pub(super) flags: u32,
}

impl Offsets {
    /// Of the running kernel.
    pub(super) fn of_kernel() -> Self {
        let file = std::fs::read("/sys/kernel/btf/vmlinux").unwrap_or_default();
        Types::parse(&file).and_then(|types| Self::of(&types)).unwrap_or_default()
    }

    fn of(types: &Types<'_>) -> Option<Self> {
        let sock = types.find_struct(b"sock")?;
        // `struct sock` begins with its `struct sock_common`.
        let common = types.find_struct(b"sock_common")?;
        Some(Self {
            ack_backlog: types.offset(sock, b"sk_ack_backlog")?,
            max_ack_backlog: types.offset(sock, b"sk_max_ack_backlog")?,
            flags: types.offset(common, b"skc_flags")?,
        })
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

    fn find_struct(&self, name: &[u8]) -> Option<usize> {
        let is_it = |at: usize| {
            kind(self.file, at).is_some_and(|(kind, _)| kind == STRUCT) && self.has_name(at, name)
        };
        self.starts.iter().copied().find(|&at| is_it(at))
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

    use super::{Offsets, Types};

    #[test]
    fn a_kernel_with_type_information_tells_all_offsets() {
        let Offsets { ack_backlog, max_ack_backlog, flags } = Offsets::of_kernel();
        let has_types = std::path::Path::new("/sys/kernel/btf/vmlinux").exists();
        assert_eq!(has_types, ack_backlog > 0 && max_ack_backlog == ack_backlog + 4 && flags > 0);
    }

    proptest! {
        #[test]
        fn any_file_is_read_without_a_panic(file in prop::collection::vec(any::<u8>(), 0..400)) {
            if let Some(types) = Types::parse(&file) {
                prop_assert!(Offsets::of(&types).is_none());
            }
        }
    }
}
