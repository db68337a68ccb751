//! Lines of workers, each with the name of its worker before it.

/// A longer line is cut into pieces, which are lines.
const LONGEST: usize = 8192;

/// Takes bytes in any pieces and gives whole lines. The bytes of a line are not changed.
#[derive(Debug)]
pub(super) struct Lines {
    prefix: Vec<u8>,
    /// Of a line whose end has not come.
    begun: Vec<u8>,
}

impl Lines {
    pub(super) fn new(prefix: &str) -> Self {
        Self { prefix: prefix.into(), begun: Vec::new() }
    }

    /// Gives each line that is whole by now, with its prefix and its end.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut give: impl FnMut(&[u8])) {
        while !bytes.is_empty() {
            let room = LONGEST - self.begun.len();
            let end = bytes.iter().take(room + 1).position(|byte| *byte == b'\n');
            let (taken, rest) = bytes.split_at(end.unwrap_or_else(|| bytes.len().min(room)));
            self.begun.extend_from_slice(taken);
            bytes = rest;
            if end.is_some() {
                bytes = &bytes[1..];
            } else if bytes.is_empty() {
                // A line that is as long as one may be waits for its end, which may be next.
                return;
            }
            self.give(&mut give);
        }
    }

    /// Gives what is left of a line without an end.
    pub(super) fn end(&mut self, mut give: impl FnMut(&[u8])) {
        if !self.begun.is_empty() {
            self.give(&mut give);
        }
    }

    fn give(&mut self, give: &mut impl FnMut(&[u8])) {
        give(&[&self.prefix, self.begun.as_slice(), b"\n"].concat());
        self.begun.clear();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{LONGEST, Lines};

    fn lines(pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut given = Vec::new();
        let mut lines = Lines::new("> ");
        for piece in pieces {
            lines.feed(piece, |line| given.push(line.to_vec()));
        }
        lines.end(|line| given.push(line.to_vec()));
        given
    }

    #[test]
    fn every_line_has_its_prefix_however_it_came() {
        let expected: [&[u8]; 4] = [b"> one\n", b"> \n", b"> t\xffwo\n", b"> end\n"];
        assert_eq!(lines(&[b"one\n\nt\xffwo\nend"]), expected);
        assert_eq!(lines(&[b"on", b"e", b"\n", b"", b"\nt\xff", b"wo\nend\n"]), expected);
        assert!(lines(&[b""]).is_empty());
    }

    #[test]
    fn long_line_is_cut_and_one_that_just_fits_is_not() {
        let fits = vec![b'a'; LONGEST];
        let whole = [b"> ", fits.as_slice(), b"\n"].concat();
        assert_eq!(lines(&[&fits, b"\n"]), std::slice::from_ref(&whole));
        assert_eq!(lines(&[&fits, b"\nb\n"]), [whole.clone(), b"> b\n".to_vec()]);
        assert_eq!(lines(&[&fits, b"b\n"]), [whole.clone(), b"> b\n".to_vec()]);
        assert_eq!(
            lines(&[&[fits.as_slice(), &fits, b"b"].concat()]),
            [whole.clone(), whole, b"> b\n".to_vec()]
        );
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_made_up(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..9000), 0..6)) {
            let all = pieces.concat();
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let given = lines(&pieces);
            prop_assert!(given.iter().all(|line| line.starts_with(b"> ") && line.len() <= LONGEST + 3));
            let bare = |bytes: &[u8]| bytes.iter().copied().filter(|byte| *byte != b'\n').collect::<Vec<_>>();
            let back: Vec<u8> = given.iter().flat_map(|line| bare(&line[2..])).collect();
            prop_assert_eq!(back, bare(&all));
        }
    }
}
