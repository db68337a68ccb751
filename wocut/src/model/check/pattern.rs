//! What an answer has to be like.

use std::{
    fmt,
    str::FromStr,
    sync::{Arc, OnceLock},
};

use regex::bytes::{Regex, RegexBuilder};

use super::url;
use crate::model::{ParseError, serde_as_text};

/// A pattern over bytes, as fnmatch has them: `*`, `?`, `[a-z]`, `[!0-9]`, `\*`, and `%0D` for any one byte, which means
/// itself also where it is a `*`. It is matched against the whole of an answer.
// Neither libc's fnmatch, which ends at a NUL, nor the crates for file names, whose patterns are UTF-8, can say every
// byte. An expression over bytes can, and never takes longer than pattern times answer.
#[derive(Clone)]
pub struct Pattern {
    text: String,
    /// What it begins with, and whether that is all.
    literal: (Vec<u8>, bool),
    expression: Arc<Expression>,
}

/// Compiled when it is needed, and once for all copies: most commands read a check and never make it.
struct Expression {
    source: String,
    compiled: OnceLock<Option<Regex>>,
}

impl Expression {
    /// Not None: what is translated is an expression, and too short to be a large one.
    fn compiled(&self) -> Option<&Regex> {
        let build = || RegexBuilder::new(&self.source).unicode(false).dot_matches_new_line(true).build().ok();
        self.compiled.get_or_init(build).as_ref()
    }
}

impl Pattern {
    /// Bytes of its text at most.
    pub const MAX: usize = 1024;

    /// Whether an answer is like this.
    pub fn matches(&self, answer: &[u8]) -> bool {
        self.expression.compiled().is_some_and(|expression| expression.is_match(answer))
    }

    /// Whether an answer that begins so may become like this.
    pub fn may_match(&self, begin: &[u8]) -> bool {
        let (literal, is_all) = &self.literal;
        let fits = !is_all || begin.len() <= literal.len();
        fits && begin.iter().zip(literal).all(|(is, wanted)| is == wanted)
    }
}

impl FromStr for Pattern {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = |why: &str| ParseError::new(text, "a pattern", why);
        if text.is_empty() || text.len() > Self::MAX {
            return Err(error("it has 1 to 1024 bytes"));
        }
        let (literal, source) = translated(text.as_bytes()).map_err(error)?;
        let expression = Arc::new(Expression { source, compiled: OnceLock::new() });
        Ok(Self { text: text.into(), literal, expression })
    }
}

/// The bytes that it begins with, whether they are all, and the whole as a regular expression.
fn translated(mut rest: &[u8]) -> Result<((Vec<u8>, bool), String), &'static str> {
    let (mut literal, mut is_literal) = (Vec::new(), true);
    let mut expression = String::from("\\A");
    while let [first, after @ ..] = rest {
        is_literal &= !matches!(first, b'*' | b'?' | b'[');
        rest = match first {
            b'[' => class(after, &mut expression)?,
            b'*' | b'?' => {
                expression.push_str(if *first == b'*' { ".*" } else { "." });
                after
            }
            _ => {
                let (byte, after) = one(rest)?;
                expression.push_str(&exactly(byte));
                literal.extend(is_literal.then_some(byte));
                after
            }
        }
    }
    expression.push_str("\\z");
    Ok(((literal, is_literal), expression))
}

/// What is between brackets. Returns what comes after it.
fn class<'t>(mut rest: &'t [u8], expression: &mut String) -> Result<&'t [u8], &'static str> {
    expression.push('[');
    if let [b'!' | b'^', after @ ..] = rest {
        expression.push('^');
        rest = after;
    }
    let mut is_first = true;
    loop {
        match rest {
            [] => return Err("a `[` wants its `]`; `\\[` is the character itself"),
            [b']', after @ ..] if !is_first => {
                expression.push(']');
                return Ok(after);
            }
            [b'[', b':' | b'.' | b'=', ..] => return Err("it knows no classes with names"),
            _ => rest = range(rest, expression)?,
        }
        is_first = false;
    }
}

/// One byte, or all from one to another.
fn range<'t>(rest: &'t [u8], expression: &mut String) -> Result<&'t [u8], &'static str> {
    let (from, rest) = one(rest)?;
    expression.push_str(&exactly(from));
    let [b'-', after @ ..] = rest else { return Ok(rest) };
    // At the end it is the character itself.
    if after.starts_with(b"]") {
        return Ok(rest);
    }
    let (to, after) = one(after)?;
    if to < from {
        return Err("a range ends before it begins");
    }
    expression.push('-');
    expression.push_str(&exactly(to));
    Ok(after)
}

fn one(text: &[u8]) -> Result<(u8, &[u8]), &'static str> {
    match text {
        [b'\\', byte, rest @ ..] => Ok((*byte, rest)),
        [b'\\'] => Err("a `\\` quotes what comes after it"),
        _ => url::byte(text).ok_or("a `%` is followed by two digits of 16; `%25` is the character itself"),
    }
}

fn exactly(byte: u8) -> String {
    format!("\\x{byte:02x}")
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Pattern {}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.text).finish()
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

serde_as_text!(Pattern);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::Pattern;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn patterns_match_as_fnmatch_does() {
        for (text, answer, does) in [
            ("220*", "220 mail\r\n", true),
            ("220*", "22", false),
            ("220*", " 220", false),
            ("*ok*", "it is ok\nso far", true),
            ("+OK?", "+OK!", true),
            ("+OK?", "+OK", false),
            ("[0-9a]x", "ax", true),
            ("[!0-9]", "5", false),
            ("[]-]", "]", true),
            ("[]-]", "-", true),
            ("[a\\]]", "]", true),
            ("\\*", "*", true),
            ("\\*", "x", false),
            ("%2A", "x", false),
            ("a.c", "abc", false),
            ("ä?", "ä!", true),
        ] {
            assert_eq!(pattern(text).matches(answer.as_bytes()), does, "{text} {answer:?}");
        }
    }

    #[test]
    fn bytes_of_every_kind_are_matched() {
        assert!(pattern("%00%FF?*%0a").matches(b"\0\xff\xfe\0\n"));
        assert!(pattern("[%80-%ff]").matches(b"\xc3") && !pattern("[%80-%ff]").matches(b"\x7f"));
    }

    #[test]
    fn what_cannot_match_any_more_is_known_early() {
        assert!(pattern("220*").may_match(b"22") && pattern("220*").may_match(b"220 x"));
        assert!(!pattern("220*").may_match(b"5"));
        assert!(pattern("2[25]0").may_match(b"2x"));
        assert!(pattern("+OK%0A").may_match(b"+OK") && !pattern("+OK%0A").may_match(b"+OK\n+"));
    }

    #[test]
    fn longest_patterns_compile() {
        for part in ["*", "?", "a", "*?", "[!a]", "[%00-%ff]", "%ff", "[a-z0-9]*"] {
            let longest = pattern(&part.repeat(Pattern::MAX / part.len()));
            assert!(longest.expression.compiled().is_some(), "{part}");
        }
    }

    #[test]
    fn bad_text_is_refused_with_the_reason() {
        let long = "x".repeat(1025);
        for (bad, why) in [
            ("", "1 to 1024"),
            (long.as_str(), "1 to 1024"),
            ("[a", "its `]`"),
            ("[]", "its `]`"),
            ("[b-a]", "ends before"),
            ("[[:digit:]]", "classes"),
            ("%0", "two digits"),
            ("%zz", "two digits"),
            ("a\\", "quotes"),
        ] {
            assert!(bad.parse::<Pattern>().unwrap_err().to_string().contains(why), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*|[\\]\\[!^a-c*?%0-9\\\\-]{0,30}", answer in any::<Vec<u8>>()) {
            if let Ok(pattern) = text.parse::<Pattern>() {
                prop_assert_eq!(pattern.to_string(), text);
                prop_assert!(pattern.expression.compiled().is_some());
                prop_assert!(!pattern.matches(&answer) || pattern.may_match(&answer));
            }
        }

        #[test]
        fn bytes_match_themselves_and_nothing_else(bytes in proptest::collection::vec(any::<u8>(), 1..40), other: Vec<u8>) {
            let text = bytes.iter().fold(String::new(), |text, byte| text + &format!("%{byte:02X}"));
            prop_assert!(pattern(&text).matches(&bytes));
            prop_assert_eq!(pattern(&text).matches(&other), bytes == other);
        }
    }
}
