//! A talk with an instance, step by step.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{Pattern, url};
use crate::model::{ParseError, serde_as_text};

/// One step of a talk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// Say this.
    Send(Payload),
    /// Hear something like this.
    Expect(Pattern),
}

/// What is said and heard, in order: 1 to 16 steps.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Step>")]
pub struct Steps(Vec<Step>);

impl Steps {
    /// Steps at most.
    pub const MAX: usize = 16;

    /// In order.
    pub fn iter(&self) -> std::slice::Iter<'_, Step> {
        self.0.iter()
    }

    /// Whether nothing is waited for after the last word.
    pub fn ends_in_send(&self) -> bool {
        matches!(self.0.last(), Some(Step::Send(_)))
    }

    /// Whether the first word is ours.
    pub fn begins_with_send(&self) -> bool {
        matches!(self.0.first(), Some(Step::Send(_)))
    }
}

impl Default for Steps {
    /// One message with nothing in it.
    fn default() -> Self {
        Self(vec![Step::Send(Payload { text: String::new(), bytes: Vec::new() })])
    }
}

impl TryFrom<Vec<Step>> for Steps {
    type Error = ParseError;

    fn try_from(steps: Vec<Step>) -> Result<Self, ParseError> {
        if steps.is_empty() || steps.len() > Self::MAX {
            return Err(ParseError::new(&steps.len().to_string(), "a number of steps", "it is 1 to 16"));
        }
        Ok(Self(steps))
    }
}

impl<'s> IntoIterator for &'s Steps {
    type Item = &'s Step;
    type IntoIter = std::slice::Iter<'s, Step>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Bytes to be said, written with `%0D` for those that a text has no sign for: 4,096 characters at most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    text: String,
    bytes: Vec<u8>,
}

impl Payload {
    /// Bytes of its text at most.
    pub const MAX: usize = 4096;

    /// What is said.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl FromStr for Payload {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = |why| ParseError::new(text, "something to send", why);
        if text.len() > Self::MAX {
            return Err(error("it has 4096 bytes at most"));
        }
        let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
        while !rest.is_empty() {
            let why = "a `%` is followed by two digits of 16; `%25` is the character itself";
            let (byte, after) = url::byte(rest).ok_or_else(|| error(why))?;
            bytes.push(byte);
            rest = after;
        }
        Ok(Self { text: text.into(), bytes })
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

serde_as_text!(Payload);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Payload, Step, Steps};

    #[test]
    fn binary_is_written_as_in_a_url() {
        let payload: Payload = "EHLO%20x+y%0d%0A%00%ff".parse().unwrap();
        assert_eq!(payload.bytes(), b"EHLO x+y\r\n\0\xff");
    }

    #[test]
    fn bad_text_is_refused_with_the_reason() {
        let long = "x".repeat(4097);
        for (bad, why) in
            [("%", "two digits"), ("a%0", "two digits"), ("%ää", "two digits"), (long.as_str(), "4096")]
        {
            assert!(bad.parse::<Payload>().unwrap_err().to_string().contains(why), "{bad}");
        }
        let step = Step::Send("x".parse().unwrap());
        for count in [0, 17] {
            let error = Steps::try_from(vec![step.clone(); count]).unwrap_err().to_string();
            assert!(error.contains("1 to 16"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*|[%0-9a-f]{0,20}") {
            if let Ok(payload) = text.parse::<Payload>() {
                prop_assert_eq!(payload.to_string(), text);
            }
        }
    }
}
