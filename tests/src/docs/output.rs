//! Whether what came is what is printed in a page.

/// What stands for whatever there is.
const ANYTHING: &str = "…";

/// Whether all that came is all that is printed, but for blanks, and for numbers where they vary.
pub fn is_like(printed: &[String], came: &[String], numbers_vary: bool) -> bool {
    let Some((first, rest)) = printed.split_first() else { return came.is_empty() };
    if first.trim() == ANYTHING {
        return (0..=came.len()).any(|skipped| is_like(rest, &came[skipped..], numbers_vary));
    }
    let Some((line, more)) = came.split_first() else { return false };
    line_is_like(&plain(first, numbers_vary), &plain(line, numbers_vary)) && is_like(rest, more, numbers_vary)
}

/// Whether what came begins as printed.
pub fn begins_like(printed: &[String], came: &[String], numbers_vary: bool) -> bool {
    let open = [printed, &[ANYTHING.to_owned()]].concat();
    is_like(&open, came, numbers_vary)
}

fn line_is_like(printed: &str, came: &str) -> bool {
    let Some((before, after)) = printed.split_once(ANYTHING) else { return printed == came };
    let Some(rest) = came.strip_prefix(before) else { return false };
    let mut starts = rest.char_indices().map(|(at, _)| at).chain([rest.len()]);
    starts.any(|at| line_is_like(after, &rest[at..]))
}

/// A line with one blank between words, and with one number in the place of all, if they vary.
fn plain(line: &str, numbers_vary: bool) -> String {
    let words = line.split_whitespace().map(|word| if numbers_vary && is_number(word) { "0" } else { word });
    words.collect::<Vec<_>>().join(" ")
}

/// `12`, `0.5`, `33.1%`, `5ms`, `(12)`, `1,200,`
fn is_number(word: &str) -> bool {
    let word = word.trim_matches(['(', ')', ',', ';', ':', '+', '-', '~', '%']);
    let digits = word.trim_end_matches(|end: char| end.is_ascii_alphabetic());
    digits.starts_with(|first: char| first.is_ascii_digit())
        && word.len() - digits.len() <= 2
        && digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.' || byte == b',')
        && digits.matches('.').count() < 2
}
