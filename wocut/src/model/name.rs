//! Names of services and instances.

use std::{borrow::Borrow, fmt, str::FromStr};

use super::{ParseError, serde_as_text};

/// A name: 1 to 22 letters, digits, `_` and `-`, the first one a letter or digit.
///
/// It becomes part of rule text, of file names and of labels, so nothing else is let in. A chain's name is 28
/// characters at most, and `WOCUT-` takes six of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Characters at most.
    pub const MAX: usize = 22;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = |why: &str| Err(ParseError::new(text, "a name", why));
        if text.is_empty() || text.len() > Self::MAX {
            return error("a name has 1 to 22 characters");
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
        if !text.bytes().all(allowed) || !text.as_bytes()[0].is_ascii_alphanumeric() {
            return error("a name is letters, digits, `_` and `-`, and begins with a letter or digit");
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

serde_as_text!(Name);

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn names_that_could_reach_a_rule_or_a_path_are_refused() {
        let long = "a".repeat(23);
        for bad in ["", "-a", "a b", "a'b", "a\"b", "a;b", "../a", "a/b", "a\nb", "é", long.as_str()] {
            assert!(bad.parse::<Name>().is_err(), "{bad:?}");
        }
        for good in ["web", "8001", "a-b_c", &"a".repeat(22)] {
            assert_eq!(good.parse::<Name>().unwrap().as_str(), good);
        }
    }
}
