//! A host under test: a lan, an engine, and the `wocut` command of its server.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::process::{Command, Output};
use std::thread;

use serde_json::Value;
use tempfile::TempDir;

use crate::engine::Engine;
use crate::lan::{Family, Lan};
use crate::load::{Load, burst};
use crate::must::{Must as _, check};
use crate::rules::{add_foreign_rules, saved_rules};
use crate::tally::Tally;
use crate::watch::Watched;
use crate::wocut::{self, Outcome, Running};

/// The service port of every test.
pub const SERVICE: u16 = 80;

/// A server with wocut on it, and a client.
#[derive(Debug)]
pub struct Host {
    /// The namespaces.
    pub lan: Lan,
    /// What carries the services.
    pub engine: Engine,
    tools: Option<TempDir>,
}

impl Host {
    /// A host on a lan of its own.
    pub fn new(engine: Engine) -> Self {
        Self::on(Lan::new(), engine)
    }

    /// A host with rules of others, a stateful firewall among them.
    pub fn with_firewall(engine: Engine) -> Self {
        let host = Self::new(engine);
        // Where there is address translation, the kernel takes a packet back from the listener that the tc hook gave it
        // to: `nf_nat_inet_port_was_mangled` compares the client's port with that of a listener, which has none.
        if engine != Engine::Tc {
            add_foreign_rules(&host);
            // The kernel remembers each connection for two minutes after its end, 262,144 of them in all, and lets
            // nobody in when it has that many. A minute of load is more.
            host.lan.server.set("netfilter/nf_conntrack_tcp_timeout_time_wait", "1");
        }
        host
    }

    /// A host on a given lan.
    pub fn on(lan: Lan, engine: Engine) -> Self {
        Self { lan, engine, tools: engine.tools() }
    }

    /// Runs `wocut` with arguments separated by blanks.
    #[track_caller]
    pub fn wocut(&self, arguments: &str) -> Outcome {
        self.wocut_with(&words(arguments))
    }

    /// Runs `wocut` with arguments taken as they are.
    #[track_caller]
    pub fn wocut_with(&self, arguments: &[&str]) -> Outcome {
        self.wocut_under(&[], arguments)
    }

    /// Runs `wocut` under another program, such as `setpriv`.
    #[track_caller]
    pub fn wocut_under(&self, before: &[&str], arguments: &[&str]) -> Outcome {
        let before = [&["timeout", "-s", "KILL", "60"], before].concat();
        wocut::run(self.command(&before), arguments)
    }

    /// Runs `wocut` outside the server's namespace.
    #[track_caller]
    pub fn wocut_outside(&self, arguments: &[&str]) -> Outcome {
        let tools = self.tools.as_ref().map(TempDir::path);
        wocut::run(wocut::command(None, tools, &["timeout", "-s", "KILL", "60"]), arguments)
    }

    /// Attaches a service on this host's engine: `web 80/tcp to 8001 8002`.
    #[track_caller]
    pub fn attach(&self, service: &str) -> Outcome {
        let outcome = self.wocut(&self.attach_line(service));
        outcome.ok();
        outcome
    }

    /// The arguments of [`Host::attach`].
    pub fn attach_line(&self, service: &str) -> String {
        format!("attach {service} {}", self.engine.flags())
    }

    /// Starts `wocut`, to look at while it runs, or to kill.
    pub fn start(&self, arguments: &str) -> Running {
        Running::start(self.command(&[]), &words(arguments))
    }

    /// Starts `wocut`, to read what it keeps printing.
    pub fn watch(&self, arguments: &str) -> Watched {
        Watched::start(self.command(&[]), &words(arguments))
    }

    /// `status --json` of one service.
    #[track_caller]
    pub fn service(&self, name: &str) -> Value {
        let status = self.wocut(&format!("status {name} --json")).ok().json();
        let services = status["services"].as_array().must("read the services");
        services.iter().find(|service| service["name"] == name).must("find the service").clone()
    }

    /// `status --json` of the instances of one service, by name.
    #[track_caller]
    pub fn instances(&self, name: &str) -> BTreeMap<String, Value> {
        let service = self.service(name);
        let instances = service["instances"].as_array().must("read the instances");
        let named =
            |instance: &Value| (instance["name"].as_str().must("read the name").to_owned(), instance.clone());
        instances.iter().map(named).collect()
    }

    /// The ports of the instances that new connections go to; none where there is no such service.
    pub fn ready(&self, name: &str) -> BTreeSet<u16> {
        let status = self.wocut(&format!("status {name} --json"));
        let status: Value = serde_json::from_str(&status.stdout).unwrap_or_default();
        let instances = status["services"][0]["instances"].as_array().cloned().unwrap_or_default();
        let is_ready = |instance: &&Value| instance["admin"] == "ready";
        let port = |instance: &Value| instance["port"].as_u64().and_then(|port| port.try_into().ok());
        instances.iter().filter(is_ready).filter_map(port).collect()
    }

    /// Fails the test if anything of wocut's is left: state, pins, or rules beside those that were there before.
    #[track_caller]
    pub fn has_only(&self, rules: &str) {
        let (pins, state) = (self.lan.server.pins(), self.lan.server.state());
        check(!pins.exists(), || format!("{} is left", pins.display()));
        check(!state.exists(), || format!("{} is left", state.display()));
        let left = saved_rules(self);
        check(left == rules, || format!("other rules are left:\n{left}\nand not\n{rules}"));
    }

    /// Connections from the client to the service.
    pub fn burst(&self, family: Family, connections: u64) -> Tally {
        let tally = burst(&self.lan.client, self.lan.at(family, SERVICE), connections);
        let strays = if self.engine.is_ebpf() { 0 } else { 2 };
        Tally { strays, ..tally }
    }

    /// The same from both families, added up.
    pub fn burst_both(&self, connections: u64) -> Tally {
        let half = |family| self.burst(family, connections / 2);
        half(Family::V4).merge(half(Family::V6))
    }

    /// Clients of both families that connect to the service until they are told to stop.
    pub fn load(&self, clients: usize) -> Load {
        Load::start(&self.lan.client, &Family::BOTH.map(|family| self.lan.at(family, SERVICE)), clients)
    }

    /// A tool of this host's flavour (`iptables-save`, …) inside the server's namespace.
    pub fn tool(&self, program: &str) -> Command {
        let tools = self.tools.as_ref().map(|folder| folder.path().join(program));
        let flavoured = tools.filter(|file| file.exists());
        flavoured.map_or_else(|| self.lan.server.command(program), |file| self.lan.server.command(file))
    }

    /// Fails the test unless exactly these instances are the service's, in any order.
    #[track_caller]
    pub fn has_instances(&self, name: &str, ports: &[u16]) {
        let found = self.instances(name);
        let wanted: BTreeSet<String> = ports.iter().map(ToString::to_string).collect();
        check(found.keys().eq(&wanted), || format!("not {wanted:?} but {found:?}"));
    }

    /// `wocut`, for others of the harness to give arguments to.
    pub(crate) fn wocut_command(&self, before: &[&str]) -> Command {
        self.command(before)
    }

    fn command(&self, before: &[&str]) -> Command {
        wocut::command(Some(&self.lan.server), self.tools.as_ref().map(TempDir::path), before)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if thread::panicking() {
            let mut status = self.command(&["timeout", "-s", "KILL", "5"]);
            for command in [status.arg("status"), self.lan.server.command("ss").arg("-ltnH")] {
                let text = command.output().map_or_else(|error| error.to_string(), |ended| shown(&ended));
                drop(writeln!(io::stderr(), "at the end, {command:?}:\n{text}"));
            }
        }
    }
}

fn shown(ended: &Output) -> String {
    String::from_utf8_lossy(&[ended.stdout.as_slice(), &ended.stderr].concat()).into_owned()
}

/// Arguments separated by blanks.
pub fn words(arguments: &str) -> Vec<&str> {
    arguments.split_whitespace().collect()
}
