//! Bodies: bytes become JSON, and JSON a shape, or an answer that says what is wrong where.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{ConfigShape, ServiceShape, place::shown, refusal::Refusal};

/// Reads JSON of any kind.
pub(super) fn json(bytes: &[u8]) -> Result<Value, Refusal> {
    let text =
        std::str::from_utf8(bytes).map_err(|error| Refusal::bad(format!("the body is no UTF-8: {error}")))?;
    serde_json::from_str(text).map_err(|error| Refusal::bad(format!("the body is no JSON: {error}")))
}

/// Reads a shape of which every field may be left out.
pub(super) fn shape<T: DeserializeOwned>(value: Value) -> Result<T, Refusal> {
    if !value.is_object() {
        return Err(Refusal::unprocessable("the body is not an object"));
    }
    typed(value)
}

/// Reads all services: a list, as shuttle's, or an object with `services`.
pub(super) fn config(value: Value) -> Result<Vec<ServiceShape>, Refusal> {
    match value {
        Value::Array(_) => typed(value),
        Value::Object(_) => typed(value).map(ConfigShape::services),
        _ => Err(Refusal::unprocessable(
            "the body is neither a list of services nor an object with `services`",
        )),
    }
}

/// Takes the fields that are null out of an object, as a change of a part means the usual by them.
pub(super) fn take_nulls(value: &mut Value) -> Vec<String> {
    let Value::Object(fields) = value else { return Vec::new() };
    let (nulls, rest): (Map<_, _>, Map<_, _>) =
        std::mem::take(fields).into_iter().partition(|(_, value)| value.is_null());
    *fields = rest;
    nulls.into_iter().map(|(field, _)| field).collect()
}

fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Refusal> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (path, why) = (error.path().to_string(), error.inner().to_string());
        let refusal = match unknown(&why) {
            Some((message, hint)) => Refusal { hint, ..Refusal::unprocessable(message) },
            None => Refusal::unprocessable(why),
        };
        // Of an unknown field, the path ends in the field itself.
        let place = path.trim_start_matches('.');
        if place.is_empty() || place == "." { refusal } else { refusal.of(&shown(place)) }
    })
}

/// Serde's words for an unknown field, and which of those that there are may be meant.
fn unknown(why: &str) -> Option<(String, Option<String>)> {
    let (field, known) = why.strip_prefix("unknown field `")?.rsplit_once("`, expected one of ")?;
    let likeness = |known: &&str| strsim::jaro_winkler(known, field);
    let known = known.split('`').skip(1).step_by(2);
    let near = known.filter(|known| likeness(known) > 0.8).max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    let hint = near.map(|near| format!("did you mean `{near}`?"));
    Some((format!("unknown field `{}`", shown(field)), hint))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{config, json, shape, take_nulls};
    use crate::api::ServiceShape;

    fn refused(value: serde_json::Value) -> (String, Option<String>) {
        let refusal = shape::<ServiceShape>(value).unwrap_err();
        (refusal.message, refusal.hint)
    }

    #[test]
    fn unknown_field_is_named_with_what_may_be_meant() {
        let (message, hint) = refused(json!({"adress": ":80"}));
        assert_eq!(message, "adress: unknown field `adress`");
        assert_eq!(hint.as_deref(), Some("did you mean `address`?"));
        let (message, hint) = refused(json!({"backends": [{"wait": 1, "name": "a"}]}));
        assert!(message.starts_with("backends[0]") && message.ends_with("unknown field `wait`"), "{message}");
        assert_eq!(hint, None);
        assert!(refused(json!({"a`, expected one of `b": 1})).0.contains("unknown field"));
    }

    #[test]
    fn wrong_type_is_named_with_its_place() {
        let (message, _) = refused(json!({"backends": [{}, {"weight": "heavy"}]}));
        assert!(message.starts_with("backends[1].weight: invalid type"), "{message}");
        assert_eq!(refused(json!([])).0, "the body is not an object");
    }

    #[test]
    fn what_is_no_json_is_a_bad_request() {
        for bad in [&b""[..], b"{", b"\xff\xfe", b"{\"a\":1e999}", "[".repeat(100_000).as_bytes()] {
            assert_eq!(json(bad).unwrap_err().status, 400);
        }
    }

    #[test]
    fn config_is_a_list_or_an_object() {
        let list = config(json!([{"name": "web"}])).unwrap();
        let object = config(json!({"services": [{"name": "web"}], "balance": "LC", "rise": 3})).unwrap();
        assert_eq!(list[0].name, object[0].name);
        assert_eq!((object[0].balance.as_deref(), object[0].rise), (Some("LC"), Some(3)));
        assert_eq!(config(json!("web")).unwrap_err().status, 422);
    }

    #[test]
    fn nulls_are_told_apart() {
        let mut value = json!({"check": null, "guard": true});
        assert_eq!(take_nulls(&mut value), ["check"]);
        assert_eq!(value, json!({"guard": true}));
    }
}
