//! What a maintainer needs to look into a problem, in one archive, and nothing secret in it.
//!
//! `wanted` leaves texts out that may be credentials, `rules` the rules of others, `system` is what is looked at beside
//! wocut, `archive` writes it all. The key of the pick's hash, tokens, logs, addresses of clients, the host's name and
//! the environment are not looked at in the first place.

mod archive;
mod rules;
mod system;
mod wanted;

use std::{fs, io::ErrorKind};

use anyhow::Context as _;
use serde::Serialize;

pub use self::archive::{name, write};
use crate::{
    doctor,
    engine::ebpf::{Ebpf, TELLING},
    error::one_line,
    host::Host,
    status::Status,
    sys::tool,
};

/// The files of a report, and what could not be had.
#[derive(Debug, Default)]
pub struct Report {
    /// Name and text of each.
    pub files: Vec<(String, String)>,
    /// A line each.
    pub problems: Vec<String>,
}

impl Report {
    /// Looks at this host. What fails is noted, and the rest goes on.
    pub fn collect(host: &Host) -> Self {
        let mut report = Self::default();
        report.step("versions.txt", Ok(system::versions()));
        report.step("doctor.json", json(&doctor::examine(host)));
        report.step("status.json", Status::read(host, None).and_then(|status| json(&status)));
        report.step("wanted.json", state(host));
        report.step("mounts.txt", system::mounts());
        report.step("capabilities.txt", system::capabilities());
        report.step("settings.txt", Ok(system::settings()));
        let ebpf = Ebpf::new(host.netns());
        report.step("ebpf/inventory.txt", Ok(ebpf.inventory().join("\n") + "\n"));
        for map in TELLING {
            let pin = ebpf.pins().join(map);
            if pin.exists() {
                let pin = pin.display().to_string();
                report.tool(
                    &format!("ebpf/{map}.json"),
                    "bpftool",
                    &["-j", "map", "dump", "pinned", &pin],
                    str::to_owned,
                );
            }
        }
        report.tool("rules/iptables.txt", "iptables-save", &["-c"], rules::saved);
        report.tool("rules/ip6tables.txt", "ip6tables-save", &["-c"], rules::saved);
        report.tool("rules/nft.txt", "nft", &["list", "ruleset"], rules::nft);
        report
    }

    fn step(&mut self, name: &str, text: anyhow::Result<String>) {
        match text {
            Ok(text) => self.files.push((name.into(), text)),
            Err(error) => self.problems.push(format!("{name}: {}", one_line(&error))),
        }
    }

    /// What a tool prints, less what is none of our business.
    fn tool(&mut self, name: &str, tool: &str, arguments: &[&str], ours: impl Fn(&str) -> String) {
        match tool::read(&[tool], arguments) {
            Ok(Some(text)) => self.files.push((name.into(), ours(&text))),
            Ok(None) => self.problems.push(format!("{name}: {tool} is not installed")),
            Err(error) => self.problems.push(format!("{name}: {error}")),
        }
    }
}

fn json(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(serde_json::to_string_pretty(value).context("write JSON")? + "\n")
}

/// The state file, as it is but for texts that may be secret: one that cannot be understood is not shown at all.
fn state(host: &Host) -> anyhow::Result<String> {
    let path = host.state_path();
    let context = || format!("read state file {}", path.display());
    let text = match fs::read_to_string(&path) {
        // Nothing is wanted.
        Err(error) if error.kind() == ErrorKind::NotFound => "null".into(),
        other => other.with_context(context)?,
    };
    json(&wanted::without_secrets(serde_json::from_str(&text).with_context(context)?))
}
