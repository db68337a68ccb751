//! The arithmetic of a pick. It runs in the kernel, and on the host in unit tests.

#![expect(clippy::inline_always, reason = "a call in the kernel passes five registers, and no arrays")]

/// First choices that a pick takes from its hash, before it tries every member in turn.
///
/// They fall over the slot table, so traffic of an instance that cannot serve goes to the others by weight.
pub const CHOICES: usize = 4;

/// `SipHash`-1-3 of whole words. Keyed, so that who does not know the key cannot steer the result.
///
/// <https://www.aumasson.jp/siphash/siphash.pdf>
#[inline(always)]
pub const fn hash<const N: usize>(key: [u64; 2], words: &[u64; N]) -> u64 {
    let mut v = [
        key[0] ^ 0x736f_6d65_7073_6575,
        key[1] ^ 0x646f_7261_6e64_6f6d,
        key[0] ^ 0x6c79_6765_6e65_7261,
        key[1] ^ 0x7465_6462_7974_6573,
    ];
    let mut i = 0;
    while i < N {
        v[3] ^= words[i];
        v = round(v);
        v[0] ^= words[i];
        i += 1;
    }
    let length = (N as u64 * 8) << 56;
    v[3] ^= length;
    v = round(v);
    v[0] ^= length;
    v[2] ^= 0xff;
    v = round(round(round(v)));
    v[0] ^ v[1] ^ v[2] ^ v[3]
}

#[inline(always)]
const fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}

/// The slot of choice `n` (below [`CHOICES`]): another 16 bits of the hash each.
#[inline(always)]
pub const fn slot(hash: u64, n: usize) -> u16 {
    (hash >> (16 * n) & 0xffff) as u16
}

#[cfg(test)]
mod tests {
    use std::hash::{DefaultHasher, Hasher as _};

    use super::{CHOICES, hash, slot};

    extern crate std;

    /// The standard library's `DefaultHasher` is SipHash-1-3 with a zero key.
    #[test]
    fn hash_is_siphash_1_3() {
        for words in [[0, 0, 0], [1, 2, 3], [u64::MAX, 0x0123_4567_89ab_cdef, 42]] {
            let mut reference = DefaultHasher::new();
            for word in words {
                reference.write(&u64::to_ne_bytes(word));
            }
            assert_eq!(hash([0, 0], &words), reference.finish());
        }
    }

    #[test]
    fn key_changes_every_choice() {
        let (a, b) = (hash([1, 2], &[7, 8]), hash([1, 3], &[7, 8]));
        assert!((0..CHOICES).all(|n| slot(a, n) != slot(b, n)));
    }

    #[test]
    fn choices_are_the_quarters_of_the_hash() {
        let choices: [u16; 4] = core::array::from_fn(|n| slot(0x0004_0003_0002_0001, n));
        assert_eq!(choices, [1, 2, 3, 4]);
    }
}
