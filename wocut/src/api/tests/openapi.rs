//! The description of the API, which is committed.

use std::{env, fs, path::Path};

use serde_json::Value;

use crate::api::routes::description;

#[test]
fn committed_description_is_of_this_api() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let now = description();
    if env::var_os("WOCUT_UPDATE").is_some() {
        fs::write(&path, &now).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == now,
        "docs/openapi.json is not of this API: `WOCUT_UPDATE=1 cargo test -p wocut openapi` writes it anew"
    );
}

#[test]
fn every_reference_leads_somewhere_and_every_name_is_one() {
    let api: Value = serde_json::from_str(&description()).unwrap();
    let mut names = Vec::new();
    for operations in api["paths"].as_object().unwrap().values() {
        for operation in operations.as_object().unwrap().values() {
            names.push(operation["operationId"].as_str().unwrap());
            assert!(operation["responses"]["default"].is_object(), "{operation}");
        }
    }
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
    let text = api.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(api["components"]["schemas"][name].is_object(), "{name}");
    }
}
