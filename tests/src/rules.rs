//! The iptables rules of a host, wocut's and others'.
//!
//! The kernel tracks connections only as long as some rule of the namespace asks for it. Where wocut's rules are the only
//! ones that do, taking them away ends the address translation of the connections that are still open. So what has to
//! survive a detach on iptables is shown on a host that also has a stateful firewall, as hosts do.

use crate::host::{Host, words};
use crate::tool::run;

/// Rules as a firewall, a container engine and a ban list have them, in every table that wocut touches.
const FOREIGN: [&str; 8] = [
    "-t nat -N FOREIGN",
    "-t nat -A FOREIGN -j RETURN",
    "-t nat -A PREROUTING -p tcp --dport 2222 -j FOREIGN",
    "-t nat -A OUTPUT -p tcp --dport 2222 -j FOREIGN",
    "-t mangle -A PREROUTING -p tcp --dport 2223 -j MARK --set-mark 0x70000",
    "-t mangle -A OUTPUT -p tcp --dport 2223 -j MARK --set-mark 0x70000",
    "-t filter -A INPUT -p tcp --dport 2224 -j ACCEPT",
    "-t filter -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
];

/// Puts rules of others on the host.
pub fn add_foreign_rules(host: &Host) {
    for program in ["iptables", "ip6tables"] {
        for rule in FOREIGN {
            run(host.tool(program).args(words(rule)));
        }
    }
}

/// All rules of both families, without what changes by itself: counters and dates.
pub fn saved_rules(host: &Host) -> String {
    let save = |program: &str| run(&mut host.tool(program));
    let saved = ["iptables-save", "ip6tables-save"].map(save).concat();
    let lines = saved.lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| line.split(" [").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}
