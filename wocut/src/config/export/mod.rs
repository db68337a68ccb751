//! Services as a file that makes them again.

mod check;

use serde_json::Value;

use crate::model::{Admin, EngineKind, Instance, InstanceSpec, Name, Options, Service, Wanted};

/// Characters that a line may have before its list goes down the page.
const WIDTH: usize = 100;

/// TOML of every service, but for those whose instances `run` or `cluster` starts. What is as `attach` has it is left
/// out.
pub fn export(wanted: &Wanted) -> String {
    let lasting = wanted.services.iter().filter(|(_, service)| !service.is_of_processes());
    lasting.map(|(name, it)| service(name, it)).collect::<Vec<_>>().join("\n")
}

fn service(name: &Name, service: &Service) -> String {
    let mut lines = vec![format!("[service.{name}]")];
    let mut put = |key: &str, value: String| lines.push(format!("{key} = {value}"));
    if let Some(description) = &service.description {
        put("description", quoted(description.as_str()));
    }
    let listen: Vec<String> = service.listen.iter().map(|listen| quoted(&listen.to_string())).collect();
    put("listen", list("listen", &listen));
    // One that was tried and refused may be taken another time.
    if service.engine == EngineKind::Iptables && service.engine_reason.is_none() {
        put("engine", quoted("iptables"));
    }
    for (key, value) in options(service.options) {
        put(&key, value);
    }
    let instances: Vec<String> = service.instances.iter().map(instance).collect();
    put("instances", list("instances", &instances));
    if let Some(check) = &service.check {
        put("check", check::check(check));
    }
    lines.join("\n") + "\n"
}

/// The options by their keys, so that a new one cannot be forgotten here.
fn options(options: Options) -> Vec<(String, String)> {
    let fields = |options| match serde_json::to_value(options) {
        Ok(Value::Object(fields)) => fields,
        _ => serde_json::Map::new(),
    };
    let usual = fields(Options::default());
    let changed = fields(options).into_iter().filter(|(key, value)| usual.get(key) != Some(value));
    changed
        .map(|(key, value)| match value {
            Value::String(text) => (key, quoted(&text)),
            // Numbers and flags are written alike in both.
            value => (key, value.to_string()),
        })
        .collect()
}

fn instance(instance: &Instance) -> String {
    let Instance { spec, admin, check, backup, .. } = instance;
    if *admin == Admin::Ready && check.is_none() && !backup {
        let text = spec.to_string();
        let is_port = text.bytes().all(|b| b.is_ascii_digit());
        return if is_port { text } else { quoted(&text) };
    }
    let InstanceSpec { name, address, port, weight } = spec;
    let mut fields = Vec::new();
    if name.as_str() != port.to_string() {
        fields.push(("name", quoted(name.as_str())));
    }
    fields.extend(address.map(|address| ("address", quoted(&address.to_string()))));
    fields.push(("port", port.to_string()));
    if *weight != crate::model::Weight::default() {
        fields.push(("weight", weight.to_string()));
    }
    if *admin != Admin::Ready {
        fields.push(("admin", quoted(&admin.to_string())));
    }
    if *backup {
        fields.push(("backup", "true".into()));
    }
    fields.extend(check.iter().map(|check| ("check", check::instead(check))));
    table(&fields)
}

fn table(fields: &[(&str, String)]) -> String {
    let fields: Vec<String> = fields.iter().map(|(key, value)| format!("{key} = {value}")).collect();
    format!("{{ {} }}", fields.join(", "))
}

/// On one line if it fits there.
fn list(key: &str, items: &[String]) -> String {
    let line = format!("[{}]", items.join(", "));
    if key.len() + 3 + line.chars().count() <= WIDTH {
        return line;
    }
    format!("[\n    {},\n]", items.join(",\n    "))
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let escape = |c: char| match c {
        '"' | '\\' => format!("\\{c}"),
        _ if c.is_control() => format!("\\U{:08X}", u32::from(c)),
        _ => c.to_string(),
    };
    format!("\"{}\"", text.chars().map(escape).collect::<String>())
}
