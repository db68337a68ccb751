//! A check as the table that makes it again.

use super::{quoted, table};
use crate::model::{Check, CheckKind, CheckOverride, Health, HttpRequest, Statuses, Step, Steps, Tls};

type Fields = Vec<(&'static str, String)>;

pub(super) fn check(check: &Check) -> String {
    let mut fields = vec![("type", quoted(check.kind.name()))];
    match &check.kind {
        CheckKind::Tcp => {}
        CheckKind::Http(request) => fields.extend(http(request)),
        CheckKind::Https { request, tls: it } => {
            fields.extend(http(request));
            fields.extend(tls(it));
        }
        CheckKind::SendExpect { steps, tls: it } => {
            fields.push(("steps", talk(steps)));
            if let Some(it) = it {
                fields.push(("tls", "true".into()));
                fields.extend(tls(it));
            }
        }
        CheckKind::Udp { steps } => fields.push(("steps", talk(steps))),
        CheckKind::Exec { command } => {
            let words: Vec<String> = command.words().map(quoted).collect();
            fields.push(("command", format!("[{}]", words.join(", "))));
        }
    }
    fields.extend(when(check));
    table(&fields)
}

pub(super) fn instead(instead: &CheckOverride) -> String {
    match instead {
        CheckOverride::Off => "false".into(),
        CheckOverride::Own(own) => check(own),
    }
}

fn http(request: &HttpRequest) -> Fields {
    let usual = HttpRequest::default();
    let HttpRequest { method, path, host, status, body } = request;
    let mut fields = vec![("path", quoted(&path.to_string()))];
    if *method != usual.method {
        fields.push(("method", quoted(&method.to_string())));
    }
    fields.extend(host.iter().map(|host| ("host", quoted(&host.to_string()))));
    if *status != usual.status {
        fields.push(("status", codes(status)));
    }
    fields.extend(body.iter().map(|body| ("body", quoted(&body.to_string()))));
    fields
}

/// A code is a number, and a range a text.
fn codes(status: &Statuses) -> String {
    let item = |code: String| if code.contains('-') { quoted(&code) } else { code };
    format!("[{}]", status.iter().map(item).collect::<Vec<_>>().join(", "))
}

fn tls(tls: &Tls) -> Fields {
    let mut fields = Vec::new();
    if !tls.verify {
        fields.push(("verify", "false".into()));
    }
    fields.extend(tls.server_name.iter().map(|name| ("server_name", quoted(&name.to_string()))));
    fields
}

fn talk(steps: &Steps) -> String {
    let step = |step: &Step| match step {
        Step::Send(payload) => table(&[("send", quoted(&payload.to_string()))]),
        Step::Expect(pattern) => table(&[("expect", quoted(&pattern.to_string()))]),
    };
    format!("[{}]", steps.iter().map(step).collect::<Vec<_>>().join(", "))
}

/// Where, when, and how often.
fn when(check: &Check) -> Fields {
    let mut fields = Vec::new();
    fields.extend(check.address.map(|address| ("address", quoted(&address.to_string()))));
    fields.extend(check.port.map(|port| ("port", port.to_string())));
    fields.push(("interval", quoted(&check.interval.to_string())));
    fields.extend(check.fast_interval.map(|fast| ("fast_interval", quoted(&fast.to_string()))));
    fields.extend([
        ("timeout", quoted(&check.timeout.to_string())),
        ("rise", check.rise.to_string()),
        ("fall", check.fall.to_string()),
    ]);
    if check.initial != Health::default() {
        fields.push(("initial", quoted(&check.initial.to_string())));
    }
    fields
}
