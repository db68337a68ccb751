//! Other tools on the host that want what wocut wants.

use crate::daemon::Daemon;
use crate::host::{Host, words};
use crate::need::Missing;
use crate::netns::Netns;
use crate::tool::{output, run};

/// An eBPF program that does nothing on the lookup of listeners; dropping it takes it away.
pub fn on_lookup(netns: &Netns, name: &str) -> Daemon {
    Daemon::script(netns, include_str!("rival.py"), &["sk_lookup", name])
}

/// An eBPF program that does nothing on what comes in on an interface, by way of tcx.
pub fn on_ingress(netns: &Netns, interface: &str, name: &str) -> Daemon {
    Daemon::script(netns, include_str!("rival.py"), &["tcx_ingress", name, interface])
}

/// A filter of traffic control, of the kind that was before tcx, on what goes out of an interface.
///
/// # Errors
/// The kernel has no such filters.
pub fn tc_filter(netns: &Netns, interface: &str) -> Result<(), Missing> {
    run(netns.command("tc").args(["qdisc", "add", "dev", interface, "clsact"]));
    let filter = "egress protocol ip u32 match ip dport 9 0xffff classid 1:1";
    let added = output(netns.command("tc").args(["filter", "add", "dev", interface]).args(words(filter)));
    added.status.success().then_some(()).ok_or_else(|| Missing::Here("the traffic control filter u32".into()))
}

/// Rules as a container engine has them for a port that it publishes: every family, remote and local clients.
pub fn docker(host: &Host, port: u16) {
    for (program, address) in [("iptables", "172.17.0.2"), ("ip6tables", "[fd00:17::2]")] {
        for rule in [
            "-N DOCKER".to_owned(),
            "-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER".to_owned(),
            "-A OUTPUT -m addrtype --dst-type LOCAL -j DOCKER".to_owned(),
            "-A DOCKER -i docker0 -j RETURN".to_owned(),
            format!("-A DOCKER ! -i docker0 -p tcp --dport {port} -j DNAT --to-destination {address}:80"),
        ] {
            run(host.tool(program).args(["-t", "nat"]).args(words(&rule)));
        }
    }
}

/// Loads rules into nftables.
pub fn nft(netns: &Netns, rules: &str) {
    run(netns.command("nft").arg(rules));
}
