//! Hostile bodies.

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::Stage;

/// Fields that there are, so that what is sent gets past the first look.
const FIELDS: &str = "name address backends balance check_interval fall rise client_timeout server_timeout \
    connect_timeout network https-redirect virtual_hosts error_pages maintenance_mode listen policy sticky_prefix \
    on_empty guard hook allow_degraded engine description check check_address weight admin services type interval \
    timeout path";

fn leaf() -> impl Strategy<Value = Value> {
    let words = "RR|LC|tcp|udp|ready|maint|:80|127\\.0\\.0\\.1:[0-9]{1,6}|[0-9]{1,5}/(tcp|udp)|sticky|http|[0-9]{1,3}(ms|s)";
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| json!(number)),
        (0u32..400).prop_map(Value::from),
        words.prop_map(Value::from),
        "\\PC{0,40}".prop_map(Value::from),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let fields: Vec<&str> = FIELDS.split_ascii_whitespace().collect();
    leaf().prop_recursive(4, 64, 8, move |inner| {
        let key = prop::sample::select(fields.clone()).prop_map(String::from);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::vec((key, inner), 0..12)
                .prop_map(|fields| Value::Object(Map::from_iter(fields))),
        ]
    })
}

fn is_answered(method: &str, path: &str, body: Vec<u8>) -> Result<(), TestCaseError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let answer = runtime.block_on(Stage::web().ask(method, path, body));
    if answer.status == 200 {
        prop_assert!(answer.json().is_array());
    } else {
        let (status, ..) = answer.refused();
        prop_assert!((400..500).contains(&status), "{status}");
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_json_is_our_fault(
        value in value(),
        method in prop::sample::select(vec!["PUT", "POST", "PATCH"]),
        path in prop::sample::select(vec!["/web", "/new", "/web/a", "/web/new"]),
    ) {
        is_answered(method, path, value.to_string().into_bytes())?;
    }

    #[test]
    fn no_config_is_our_fault(value in prop::collection::vec(value(), 0..4)) {
        is_answered("PUT", "/_config", Value::from(value).to_string().into_bytes())?;
    }

    #[test]
    fn no_bytes_are_our_fault(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        is_answered("PUT", "/web", bytes)?;
    }
}
