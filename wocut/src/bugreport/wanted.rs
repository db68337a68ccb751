//! The wanted state without what may be secret: a path, a header, an argument of a program, what is said in a check.

use serde_json::Value;

/// Keys whose texts are words of wocut's own, names, ports and times. A key that is not here may be anything.
const TOLD: [&str; 22] = [
    "address",
    "admin",
    "engine",
    "engine_reason",
    "engines",
    "fast_interval",
    "health",
    "hook",
    "initial",
    "interval",
    "listen",
    "method",
    "name",
    "on_empty",
    "policy",
    "port",
    "reserved_ports",
    "slow_start",
    "status",
    "sticky_prefix",
    "timeout",
    "type",
];

/// Leaves out every text under a key that is not known to be harmless, and says how long it was.
pub(super) fn without_secrets(state: Value) -> Value {
    masked(state, false)
}

fn masked(value: Value, is_told: bool) -> Value {
    match value {
        Value::String(text) if !is_told => {
            format!("({} characters are left out)", text.chars().count()).into()
        }
        Value::Array(list) => list.into_iter().map(|one| masked(one, is_told)).collect(),
        Value::Object(fields) => {
            let each = |(key, value): (String, Value)| {
                let value = masked(value, TOLD.contains(&key.as_str()));
                (key, value)
            };
            fields.into_iter().map(each).collect()
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::without_secrets;

    #[test]
    fn texts_that_may_be_secret_are_left_out_and_words_stay() {
        let masked = without_secrets(json!({"services": {"web": {
            "engine": "ebpf", "listen": ["80/tcp"], "description": "the key is 4711",
            "check": {"type": "http", "path": "/health?token=abc", "host": "user:pass", "rise": 2},
            "instances": [{"name": "8001", "check": {"type": "exec", "command": ["/bin/check", "-p", "abc"]}},
                {"check": {"steps": [{"send": "AUTH abc"}, {"expect": "*abc*"}]}}],
        }}}));
        let text = masked.to_string();
        assert!(!["abc", "4711", "pass"].iter().any(|secret| text.contains(secret)), "{text}");
        let web = &masked["services"]["web"];
        assert_eq!(web["check"]["path"], "(17 characters are left out)");
        assert_eq!((&web["listen"], &web["engine"]), (&json!(["80/tcp"]), &json!("ebpf")));
        assert_eq!((&web["check"]["type"], &web["check"]["rise"]), (&json!("http"), &json!(2)));
    }

    #[test]
    fn key_that_nobody_knows_tells_nothing() {
        let masked = without_secrets(json!({"new": {"password": ["abc"]}, "flag": true, "none": null}));
        assert_eq!(masked["new"]["password"][0], "(3 characters are left out)");
        assert_eq!((&masked["flag"], &masked["none"]), (&json!(true), &Value::Null));
    }
}
