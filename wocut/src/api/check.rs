//! Checks: shuttle's fields of them, and wocut's own table. All that the API knows of checks is here.

use std::num::{NonZeroU8, NonZeroU16};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{BackendShape, Seconds, ServiceShape, place, place::shown as shown_text, refusal::Refusal};
use crate::model::{Check, CheckKind, CheckOverride, Definition, InstanceSpec, Wanted};

/// What a body makes of the check that a service has.
///
/// A check is made where `check` says so, or where a backend has a `check_address`. Of a service without backends, which
/// come later, a `check_interval` says so.
pub(super) fn of(body: &ServiceShape, present: Option<Check>) -> Result<Option<Check>, Refusal> {
    if let Some(table) = &body.check {
        let check: Check = whole(table)?;
        agree(body, &check)?;
        return Ok(Some(check));
    }
    let backends = body.backends.as_deref();
    let is_asked = match backends {
        Some([_, ..]) => backends.into_iter().flatten().any(has_place),
        _ => present.is_none() && given(body.check_interval).is_some(),
    };
    let Some(check) = present.or_else(|| is_asked.then(|| Check::of(CheckKind::Tcp))) else {
        return Ok(None);
    };
    timed(body, check).map(Some)
}

/// What a backend has in the place of its service's check. An empty `check_address` is none, another place than the
/// backend's own is one of its own.
pub(super) fn of_backend(
    body: &BackendShape,
    present: Option<CheckOverride>,
    spec: &InstanceSpec,
    service: Option<&Check>,
) -> Result<Option<CheckOverride>, Refusal> {
    if let Some(table) = &body.check {
        return match table {
            // What is wrong with a table is told better where nothing else is tried.
            Value::Object(_) => whole(table).map(|own: Check| Some(CheckOverride::Own(own.into()))),
            other => whole(other).map(Some),
        };
    }
    let Some(text) = &body.check_address else { return Ok(present) };
    if text.is_empty() {
        return Ok(service.map(|_| CheckOverride::Off));
    }
    let (address, port) = place::read("check_address", text)?;
    if (address, port) == (spec.address, spec.port) {
        return Ok(None);
    }
    let usual = service.cloned().unwrap_or_else(|| Check::of(CheckKind::Tcp));
    Ok(Some(CheckOverride::Own(Check { address, port: NonZeroU16::new(port), ..usual }.into())))
}

/// A check with all its fields, and no others.
fn whole<T: DeserializeOwned>(table: &Value) -> Result<T, Refusal> {
    let kind = table.get("type").and_then(Value::as_str).unwrap_or_default();
    let keys = table.as_object().into_iter().flat_map(|table| table.keys());
    let known = || CheckKind::TYPES.contains(&kind);
    if let Some(foreign) = keys.into_iter().find(|key| known() && !CheckKind::has_key(kind, key)) {
        let what = format!("check: a check of type `{kind}` has no `{}`", shown_text(foreign));
        return Err(Refusal::unprocessable(what));
    }
    serde_json::from_value(table.clone()).map_err(|error| Refusal::unprocessable(format!("check: {error}")))
}

/// Whoever may change services may not so run programs as the daemon: those are named in files alone.
pub(super) fn expect_no_new_program(definition: &Definition, wanted: &Wanted) -> Result<(), Refusal> {
    let present = wanted.services.get(&definition.name).map(|it| Definition::of(&definition.name, it));
    let known: Vec<&CheckKind> = present.iter().flat_map(kinds).collect();
    let is_new = |kind: &&CheckKind| matches!(kind, CheckKind::Exec { .. }) && !known.contains(kind);
    if kinds(definition).any(|kind| is_new(&kind)) {
        let what = "check: a check of type `exec` runs a program, and only a configuration file can name it";
        return Err(Refusal::unprocessable(what));
    }
    Ok(())
}

fn kinds(definition: &Definition) -> impl Iterator<Item = &CheckKind> {
    let own = definition.instances.iter().filter_map(|member| match &member.check {
        Some(CheckOverride::Own(check)) => Some(&check.kind),
        _ => None,
    });
    definition.check.iter().map(|check| &check.kind).chain(own)
}

/// Where a backend is checked, as text; empty if it is not.
pub(super) fn place_of(spec: &InstanceSpec, check: Option<&Check>) -> String {
    check.map_or_else(String::new, |check| {
        place::of_backend((check.address.or(spec.address), check.port.map_or(spec.port, Into::into)))
    })
}

/// What a backend makes of its service's check.
pub(super) fn with(body: &BackendShape, present: Option<Check>) -> Option<Check> {
    present.or_else(|| has_place(body).then(|| Check::of(CheckKind::Tcp)))
}

/// Shuttle's fields of a check, for a body.
pub(super) fn shown(check: Option<&Check>, body: &mut ServiceShape) {
    body.check_interval = Some(check.map_or_else(Seconds::default, |check| check.interval.into()));
    body.connect_timeout = Some(check.map_or_else(Seconds::default, |check| check.timeout.into()));
    body.rise = Some(check.map_or(0, |check| check.rise.get()));
    body.fall = Some(check.map_or(0, |check| check.fall.get()));
    body.check = check.and_then(|check| serde_json::to_value(check).ok());
}

fn has_place(backend: &BackendShape) -> bool {
    backend.check_address.as_ref().is_some_and(|address| !address.is_empty())
}

fn given(seconds: Option<Seconds>) -> Option<Seconds> {
    seconds.filter(|seconds| !seconds.is_zero())
}

/// The check with the times and counts of shuttle's fields.
fn timed(body: &ServiceShape, check: Check) -> Result<Check, Refusal> {
    let period = |field: &str, seconds: Option<Seconds>| {
        given(seconds).map(Seconds::period).transpose().map_err(|error| Refusal::field(field, &error))
    };
    let interval = period("check_interval", body.check_interval)?.unwrap_or(check.interval);
    // An interval that is short has a timeout that is short as well, unless the body has one.
    let timeout = period("connect_timeout", body.connect_timeout)?.unwrap_or(check.timeout.min(interval));
    let count = |count: Option<u8>, usual| count.and_then(NonZeroU8::new).unwrap_or(usual);
    let (rise, fall) = (count(body.rise, check.rise), count(body.fall, check.fall));
    let check = Check { interval, timeout, rise, fall, ..check };
    check.sound().map_err(|error| Refusal::unprocessable(format!("connect_timeout: {error}")))
}

/// A body that says it twice says the same.
fn agree(body: &ServiceShape, check: &Check) -> Result<(), Refusal> {
    if timed(body, check.clone())? == *check {
        return Ok(());
    }
    let what =
        "`check` and shuttle's fields (`check_interval`, `connect_timeout`, `rise`, `fall`) do not agree";
    Err(Refusal::unprocessable(what).hint("leave out one or the other"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{of, of_backend, place_of};
    use crate::{
        api::{BackendShape, ServiceShape},
        model::{Check, CheckOverride},
    };

    fn check(body: Value) -> Result<Option<Value>, String> {
        let body: ServiceShape = serde_json::from_value(body).unwrap();
        let check: Option<Check> = of(&body, None).map_err(|refusal| refusal.to_string())?;
        Ok(check.map(|check| serde_json::to_value(check).unwrap()))
    }

    fn tcp(interval: &str, timeout: &str, rise: u8, fall: u8) -> Value {
        json!({"type": "tcp", "interval": interval, "timeout": timeout, "rise": rise, "fall": fall,
            "initial": "unknown"})
    }

    #[test]
    fn check_address_makes_a_check_and_zero_is_the_usual() {
        let checked = json!([{"check_address": "127.0.0.1:8001"}]);
        for (body, made) in [
            (json!({"backends": [{"check_address": ""}], "check_interval": 5}), None),
            (json!({"backends": checked, "check_interval": 0, "rise": 0}), Some(tcp("2s", "1s", 2, 3))),
            (json!({"backends": checked, "check_interval": 0.5}), Some(tcp("500ms", "500ms", 2, 3))),
            (
                json!({"backends": checked, "check_interval": "5s", "connect_timeout": 3, "rise": 1, "fall": 4}),
                Some(tcp("5s", "3s", 1, 4)),
            ),
            (json!({"check_interval": 5}), Some(tcp("5s", "1s", 2, 3))),
            (json!({}), None),
        ] {
            assert_eq!(check(body.clone()), Ok(made), "{body}");
        }
    }

    #[test]
    fn two_ways_to_say_it_agree() {
        let table = tcp("5s", "3s", 1, 4);
        let both = |interval: u8| json!({"check": table, "check_interval": interval, "rise": 1});
        assert_eq!(check(both(5)), Ok(Some(table.clone())));
        assert!(check(both(6)).unwrap_err().contains("do not agree"));
    }

    #[test]
    fn time_out_of_bounds_names_its_field() {
        let checked = json!([{"check_address": "x"}]);
        let error = check(json!({"backends": checked, "check_interval": 0.001})).unwrap_err();
        assert!(error.starts_with("check_interval: "), "{error}");
        let error = check(json!({"backends": checked, "connect_timeout": 9})).unwrap_err();
        assert!(error.starts_with("connect_timeout: "), "{error}");
    }

    #[test]
    fn backend_may_have_a_check_of_its_own() {
        let service: Check = serde_json::from_value(tcp("5s", "1s", 2, 3)).unwrap();
        let spec = "a=127.0.0.1:8001".parse().unwrap();
        let held = |body: Value| {
            let body: BackendShape = serde_json::from_value(body).unwrap();
            let own = of_backend(&body, None, &spec, Some(&service)).unwrap();
            place_of(&spec, CheckOverride::held(own.as_ref(), Some(&service)))
        };
        for (body, place) in [
            (json!({}), "127.0.0.1:8001"),
            (json!({"check_address": "127.0.0.1:8001"}), "127.0.0.1:8001"),
            (json!({"check_address": ":9"}), "127.0.0.1:9"),
            (json!({"check_address": ""}), ""),
            (json!({"check": false}), ""),
            (json!({"check": tcp("1s", "1s", 1, 1)}), "127.0.0.1:8001"),
        ] {
            assert_eq!(held(body.clone()), place, "{body}");
        }
    }
}
