//! What an instance has instead of its service's check.

use serde::{Deserialize, Serialize};

use super::Check;

/// What an instance has instead of its service's check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "OverrideForm", into = "OverrideForm")]
pub enum CheckOverride {
    /// Nothing asks it.
    Off,
    /// A check of its own.
    Own(Box<Check>),
}

impl CheckOverride {
    /// The check that holds for an instance that may have its own, in a service that may have one.
    pub fn held<'a>(own: Option<&'a Self>, service: Option<&'a Check>) -> Option<&'a Check> {
        match own {
            None => service,
            Some(Self::Off) => None,
            Some(Self::Own(check)) => Some(check),
        }
    }
}

/// `false`, or a check.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OverrideForm {
    Flag(bool),
    Check(Box<Check>),
}

impl TryFrom<OverrideForm> for CheckOverride {
    type Error = &'static str;

    fn try_from(form: OverrideForm) -> Result<Self, &'static str> {
        match form {
            OverrideForm::Flag(false) => Ok(Self::Off),
            OverrideForm::Flag(true) => Err("`true` says nothing: it is a check, or `false` for none"),
            OverrideForm::Check(check) => Ok(Self::Own(check)),
        }
    }
}

impl From<CheckOverride> for OverrideForm {
    fn from(check: CheckOverride) -> Self {
        match check {
            CheckOverride::Off => Self::Flag(false),
            CheckOverride::Own(check) => Self::Check(check),
        }
    }
}
