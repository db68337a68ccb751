//! Bytes of every kind in a text: `%0D` is one byte, as in a URL.

/// The first byte that a text stands for, and the rest of the text. None where `%` is not followed by two digits.
pub(super) fn byte(text: &[u8]) -> Option<(u8, &[u8])> {
    match text {
        [b'%', high, low, rest @ ..] => Some((digit(*high)? << 4 | digit(*low)?, rest)),
        [b'%', ..] | [] => None,
        [byte, rest @ ..] => Some((*byte, rest)),
    }
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}
