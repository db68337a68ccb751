//! How a service works: what `attach` takes as flags, and `slow_start`, which files and the API alone have.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use super::{ParseError, Period, serde_as_text};

/// How a service works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// How a pick is made.
    pub policy: Policy,
    /// Which part of a client's address `sticky` looks at.
    pub sticky_prefix: StickyPrefix,
    /// When nobody can serve.
    pub on_empty: OnEmpty,
    /// Whether remote clients of instance ports are refused.
    pub guard: bool,
    /// The eBPF hook that picks for TCP.
    pub hook: HookChoice,
    /// Whether an engine that cannot do all this may do less.
    pub allow_degraded: bool,
    /// How long an instance that came up has less than its share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<Period>,
}

/// A word of the command line, the state file and JSON: one for each variant.
macro_rules! words {
    ($name:ident is $what:literal: $($word:literal => $variant:ident),+) => {
        impl $name {
            /// Every one, in the order of the docs.
            pub const ALL: &[Self] = &[$(Self::$variant),+];
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                match text {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(ParseError::new(text, $what, concat!("it is one of", $(" `", $word, "`"),+))),
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $(Self::$variant => $word,)+
                })
            }
        }

        serde_as_text!($name);
    };
}

/// How a pick is made. All of them go by weight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// At random, and nobody outside can tell or steer it.
    #[default]
    Random,
    /// Each in its turn.
    RoundRobin,
    /// The one with the fewest open connections.
    LeastConn,
    /// The one with the shortest accept queue; of equals, the one with the fewest open connections.
    LeastBacklog,
    /// The same client address, the same instance.
    Sticky,
}

words!(Policy is "a policy":
    "random" => Random, "round-robin" => RoundRobin, "least-conn" => LeastConn, "least-backlog" => LeastBacklog,
    "sticky" => Sticky
);

/// What becomes of a new connection when no instance can take it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum OnEmpty {
    /// It goes to whatever listens on the service port itself.
    #[default]
    Pass,
    /// The client is not answered, and tries again.
    Drop,
    /// The client is refused.
    Reject,
}

words!(OnEmpty is "what to do on empty": "pass" => Pass, "drop" => Drop, "reject" => Reject);

/// `--hook`: the eBPF hook that picks for TCP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HookChoice {
    /// `sk_lookup`, and `tc` where a listener or an option needs it.
    #[default]
    Auto,
    /// The lookup of a listener: once a connection.
    SkLookup,
    /// Every packet that comes in: for listeners that no socket map takes.
    Tc,
}

words!(HookChoice is "a hook": "auto" => Auto, "sk_lookup" => SkLookup, "tc" => Tc);

/// How many leading bits of a client's address make one client for `sticky`: `V4` or `V4,V6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StickyPrefix {
    /// 0 to 32.
    pub v4: u8,
    /// 0 to 128.
    pub v6: u8,
}

impl Default for StickyPrefix {
    fn default() -> Self {
        Self { v4: 32, v6: 64 }
    }
}

impl FromStr for StickyPrefix {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bits = |text: &str, most: u8| {
            let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            text.parse().ok().filter(|bits| digits && *bits <= most)
        };
        let (v4, v6) = text.split_once(',').map_or((text, None), |(v4, v6)| (v4, Some(v6)));
        let prefix = bits(v4, 32).zip(match v6 {
            Some(v6) => bits(v6, 128),
            None => Some(Self::default().v6),
        });
        prefix.map(|(v4, v6)| Self { v4, v6 }).ok_or_else(|| {
            ParseError::new(text, "a prefix", "it is 0 to 32 for IPv4, and after a comma 0 to 128 for IPv6")
        })
    }
}

impl fmt::Display for StickyPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.v4, self.v6)
    }
}

serde_as_text!(StickyPrefix);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{HookChoice, OnEmpty, Policy, StickyPrefix};

    #[test]
    fn words_survive_a_round_trip() {
        assert!(Policy::ALL.iter().all(|word| word.to_string().parse() == Ok(*word)));
        assert!(OnEmpty::ALL.iter().all(|word| word.to_string().parse() == Ok(*word)));
        assert!(HookChoice::ALL.iter().all(|word| word.to_string().parse() == Ok(*word)));
    }

    #[test]
    fn one_number_is_the_ipv4_prefix() {
        assert_eq!("24".parse(), Ok(StickyPrefix { v4: 24, v6: 64 }));
        assert_eq!("24,56".parse(), Ok(StickyPrefix { v4: 24, v6: 56 }));
        for bad in ["33", "24,129", "", ",", "24,", "-1", "+1", "1,2,3"] {
            assert!(bad.parse::<StickyPrefix>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*") {
            if let Ok(prefix) = text.parse::<StickyPrefix>() {
                prop_assert_eq!(prefix.to_string().parse(), Ok(prefix));
            }
        }
    }
}
