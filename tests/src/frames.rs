//! Ethernet frames with IPv4 or IPv6 and a datagram or segment in them, byte for byte; and reading them back.

use std::net::IpAddr;

/// Length of an Ethernet header.
pub const ETHERNET: usize = 14;
/// Protocol numbers.
pub const TCP: u8 = 6;
/// Of UDP.
pub const UDP: u8 = 17;
/// Of ICMP.
pub const ICMP: u8 = 1;
/// Of ICMP for IPv6.
pub const ICMPV6: u8 = 58;
const FRAGMENT: u8 = 44;

/// What becomes of the checksum of a datagram or segment.
#[derive(Clone, Copy, Debug)]
pub enum Checksum {
    /// It is right.
    Right,
    /// There is none.
    None,
    /// It is this, right or wrong.
    Some(u16),
}

/// What a frame is made of.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Source, address and port.
    pub from: (IpAddr, u16),
    /// Destination, likewise.
    pub to: (IpAddr, u16),
    /// [`UDP`], [`ICMP`] or [`ICMPV6`]; all others are given a header of TCP.
    pub protocol: u8,
    /// Flags of TCP.
    pub flags: u8,
    /// Words of options (IPv4).
    pub options: u8,
    /// Extension headers: kind and length in eights beyond the first (IPv6).
    pub extensions: Vec<(u8, u8)>,
    /// Offset in eights, and whether more fragments follow.
    pub fragment: Option<(u16, bool)>,
    /// The checksum.
    pub checksum: Checksum,
    /// What it carries.
    pub payload: Vec<u8>,
}

impl Frame {
    /// The bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let segment = self.segment();
        let mut frame = vec![0; 12];
        match (self.from.0, self.to.0) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let words = 5 + self.options;
                let length = u16::try_from(usize::from(words) * 4 + segment.len()).unwrap_or(u16::MAX);
                let (offset, more) = self.fragment.unwrap_or_default();
                frame.extend([0x08, 0x00, 0x40 | words, 0]);
                frame.extend(length.to_be_bytes());
                frame.extend([0, 7]);
                frame.extend((offset & 0x1fff | u16::from(more) << 13).to_be_bytes());
                frame.extend([64, self.protocol, 0, 0]);
                frame.extend(from.octets());
                frame.extend(to.octets());
                frame.extend(std::iter::repeat_n(1, usize::from(self.options) * 4));
                let sum = !sum(&[&frame[ETHERNET..]]);
                frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&sum.to_be_bytes());
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let (first, headers) = self.extension_headers();
                let length = u16::try_from(headers.len() + segment.len()).unwrap_or(u16::MAX);
                frame.extend([0x86, 0xdd, 0x60, 0, 0, 0]);
                frame.extend(length.to_be_bytes());
                frame.extend([first, 64]);
                frame.extend(from.octets());
                frame.extend(to.octets());
                frame.extend(headers);
            }
            _ => crate::must::fail("a frame of two families"),
        }
        frame.extend(segment);
        frame
    }

    /// A message of ICMP, which the payload is, with its checksum.
    fn message(&self) -> Vec<u8> {
        let mut bytes = self.payload.clone();
        let covered = match self.protocol {
            ICMP => Vec::new(),
            _ => pseudo(self.from.0, self.to.0, self.protocol, bytes.len()),
        };
        if bytes.len() >= 4 {
            bytes[2..4].fill(0);
            let sum = !sum(&[&covered, &bytes]);
            bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }

    /// The first kind, and all of them.
    fn extension_headers(&self) -> (u8, Vec<u8>) {
        let mut kinds: Vec<(u8, u8)> = self.extensions.clone();
        kinds.extend(self.fragment.map(|_| (FRAGMENT, 0)));
        let mut bytes = Vec::new();
        for (n, (kind, eights)) in kinds.iter().enumerate() {
            let next = kinds.get(n + 1).map_or(self.protocol, |(kind, _)| *kind);
            if *kind == FRAGMENT {
                let (offset, more) = self.fragment.unwrap_or_default();
                bytes.extend([next, 0]);
                bytes.extend((offset << 3 | u16::from(more)).to_be_bytes());
                bytes.extend([0, 0, 0, 7]);
            } else {
                bytes.extend([next, *eights, 1, 4]);
                bytes.extend(std::iter::repeat_n(0, 4 + 8 * usize::from(*eights)));
            }
        }
        (kinds.first().map_or(self.protocol, |(kind, _)| *kind), bytes)
    }

    fn segment(&self) -> Vec<u8> {
        if [ICMP, ICMPV6].contains(&self.protocol) {
            return self.message();
        }
        let mut bytes = [self.from.1.to_be_bytes(), self.to.1.to_be_bytes()].concat();
        let at = if self.protocol == UDP {
            let length = u16::try_from(8 + self.payload.len()).unwrap_or(u16::MAX);
            bytes.extend(length.to_be_bytes());
            bytes.extend([0, 0]);
            6
        } else {
            bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
            16
        };
        bytes.extend(&self.payload);
        let right = match !sum(&[&pseudo(self.from.0, self.to.0, self.protocol, bytes.len()), &bytes]) {
            0 => 0xffff,
            sum => sum,
        };
        let checksum = match self.checksum {
            Checksum::Right => right,
            Checksum::None => 0,
            Checksum::Some(sum) => sum,
        };
        bytes[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
        bytes
    }
}

/// Where the header of a datagram is in a frame, if it has one: the kernel's rules, read once more.
pub fn datagram_at(frame: &[u8]) -> Option<usize> {
    let network = frame.get(ETHERNET..)?;
    let at = match frame.get(12..ETHERNET)? {
        [0x08, 0x00] => {
            let offset = u16::from_be_bytes([*network.get(6)?, *network.get(7)?]) & 0x1fff;
            (network[0] >> 4 == 4 && offset == 0 && *network.get(9)? == UDP).then_some(())?;
            usize::from(network[0] & 15) * 4
        }
        [0x86, 0xdd] => {
            (network.first()? >> 4 == 6).then_some(())?;
            let (mut kind, mut at) = (*network.get(6)?, 40);
            while kind != UDP {
                let next = *network.get(at)?;
                at += match kind {
                    0 | 43 | 60 => 8 + 8 * usize::from(*network.get(at + 1)?),
                    FRAGMENT => {
                        let offset = u16::from_be_bytes([*network.get(at + 2)?, *network.get(at + 3)?]) >> 3;
                        (offset == 0).then_some(8)?
                    }
                    _ => return None,
                };
                kind = next;
            }
            at
        }
        _ => return None,
    };
    network.get(at..at + 8).map(|_| ETHERNET + at)
}

/// The sum of the parts, each of an even length but the last, as the internet adds up.
pub fn sum(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for pair in parts.iter().flat_map(|part| part.chunks(2)) {
        sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or_default()]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    u16::try_from(sum).unwrap_or_default()
}

/// What a checksum covers besides the segment.
pub fn pseudo(from: IpAddr, to: IpAddr, protocol: u8, length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for address in [from, to] {
        match address {
            IpAddr::V4(address) => bytes.extend(address.octets()),
            IpAddr::V6(address) => bytes.extend(address.octets()),
        }
    }
    bytes.extend(u32::try_from(length).unwrap_or_default().to_be_bytes());
    bytes.extend([0, protocol]);
    bytes
}
