//! Which state of the configuration a client has seen, so that two clients do not undo each other's changes.

use std::fmt::Write as _;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use ring::digest::{SHA256, digest};

use super::{refusal::Refusal, render};
use crate::model::Wanted;

/// Bytes of the hash that are told.
const LENGTH: usize = 16;

/// The entity tag of the configuration: the same as long as nothing else is wanted. Health and counters are no part of
/// it.
pub(super) fn of(wanted: &Wanted) -> HeaderValue {
    of_bytes(&serde_json::to_vec(&render::config(wanted)).unwrap_or_default())
}

/// The tag of anything that is served.
pub(super) fn of_bytes(bytes: &[u8]) -> HeaderValue {
    let mut tag = String::from('"');
    for byte in digest(&SHA256, bytes).as_ref().iter().take(LENGTH) {
        // Nothing fails that is written to a text.
        let _written = write!(tag, "{byte:02x}");
    }
    tag.push('"');
    HeaderValue::try_from(tag).unwrap_or(HeaderValue::from_static("\"\""))
}

/// What a request says of the state that it is meant for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Conditions {
    if_match: Vec<String>,
    if_none_match: Vec<String>,
}

impl Conditions {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let tags = |name: HeaderName| {
            let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
            // No tag of ours has a comma in it.
            values.flat_map(|value| value.split(',')).map(|tag| tag.trim().to_owned()).collect()
        };
        Self { if_match: tags(header::IF_MATCH), if_none_match: tags(header::IF_NONE_MATCH) }
    }

    /// Whether a client that reads has this state already.
    pub(super) fn is_known(&self, tag: &HeaderValue) -> bool {
        self.if_none_match.iter().any(|known| {
            let known = known.strip_prefix("W/").unwrap_or(known);
            known == "*" || known.as_bytes() == tag.as_bytes()
        })
    }

    /// Whether a change may be made; `is_there` tells whether what is to be changed exists.
    pub(super) fn check(&self, wanted: &Wanted, is_there: bool) -> Result<(), Refusal> {
        let tag = of(wanted);
        let fits = |given: &String| (given == "*" && is_there) || given.as_bytes() == tag.as_bytes();
        if !self.if_match.is_empty() && !self.if_match.iter().any(fits) {
            let what = "If-Match: the configuration was changed meanwhile, or what is to be changed is gone";
            let hint = "read `/_config` again: its ETag is of what is wanted now";
            return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, what).hint(hint));
        }
        if self.if_none_match.iter().any(fits) {
            let what = "If-None-Match: it exists already";
            return Err(Refusal::new(StatusCode::PRECONDITION_FAILED, what));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderName};

    use super::{Conditions, of};
    use crate::{
        api::fixture::wanted,
        model::{Health, Wanted},
    };

    fn conditions(name: &'static str, value: &str) -> Conditions {
        Conditions::of(&HeaderMap::from_iter([(HeaderName::from_static(name), value.parse().unwrap())]))
    }

    #[test]
    fn tag_is_of_what_is_wanted_and_not_of_health() {
        let mut wanted = wanted();
        let before = of(&wanted);
        let instance = &mut wanted.services.get_mut("web").unwrap().instances[0];
        instance.health = Health::Down;
        assert_eq!(of(&wanted), before);
        wanted.services.get_mut("web").unwrap().options.guard = true;
        assert_ne!(of(&wanted), before);
        assert!(before.to_str().unwrap().starts_with('"') && before.len() == 34);
    }

    #[test]
    fn change_is_refused_where_another_came_first() {
        let wanted = wanted();
        let tag = of(&wanted).to_str().unwrap().to_owned();
        let stale = of(&Wanted::empty(None)).to_str().unwrap().to_owned();
        let check = |value: &str, is_there| conditions("if-match", value).check(&wanted, is_there).is_ok();
        assert!(check(&tag, true) && check(&format!("{stale}, {tag}"), false) && check("*", true));
        assert!(!check(&stale, true) && !check("*", false) && !check(&format!("W/{tag}"), true));
        assert!(Conditions::default().check(&wanted, false).is_ok());
    }

    #[test]
    fn what_exists_is_not_created_again() {
        let create = conditions("if-none-match", "*");
        assert!(create.check(&wanted(), false).is_ok());
        assert_eq!(create.check(&wanted(), true).unwrap_err().status, 412);
    }
}
