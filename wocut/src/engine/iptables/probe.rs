//! Whether this host can run the engine: found out by trying.

use super::{exec, family::Family, vacant};

/// Every table, match and target that the engine uses, in a chain that no hook leads to.
fn representative(family: Family) -> String {
    let (icmp, address) = match family {
        Family::V4 => ("icmp", "127.0.0.1"),
        Family::V6 => ("icmp6", "[::1]"),
    };
    format!(
        "*nat\n\
         :WOCUT-.probe - [0:0]\n\
         -A WOCUT-.probe -p tcp -m tcp --dport 1 -m addrtype --dst-type LOCAL -m mark --mark 0x1/0xffff \
         -m comment --comment probe -j REDIRECT --to-ports 1\n\
         -A WOCUT-.probe -o lo -p udp -m udp --dport 1 -j DNAT --to-destination :1\n\
         -A WOCUT-.probe -p tcp -j DNAT --to-destination {address}:1\n\
         COMMIT\n\
         *mangle\n\
         :WOCUT-.probe - [0:0]\n\
         -A WOCUT-.probe -m conntrack --ctstate NEW ! --ctstatus CONFIRMED \
         -m statistic --mode random --probability 0.5 -j MARK --set-xmark 0x1/0xffff\n\
         -A WOCUT-.probe -m statistic --mode nth --every 2 --packet 0 -j MARK --set-xmark 0x1/0x0\n\
         COMMIT\n\
         *filter\n\
         :WOCUT-.probe - [0:0]\n\
         -A WOCUT-.probe -p tcp -m conntrack --ctorigdstport 1 -j REJECT --reject-with tcp-reset\n\
         -A WOCUT-.probe -p udp -j REJECT --reject-with {icmp}-port-unreachable\n\
         COMMIT\n"
    )
}

/// Tries one family, and changes nothing.
pub(super) fn family(family: Family) -> Result<(), exec::ToolError> {
    exec::save(family)?;
    exec::test(family, &representative(family))
}

/// A match or target of the tables, by family.
#[derive(Debug)]
pub struct Extension {
    /// What it is called.
    pub name: &'static str,
    /// Whether IPv4 rules take it.
    pub ipv4: Result<(), exec::ToolError>,
    /// Whether IPv6 rules take it.
    pub ipv6: Result<(), exec::ToolError>,
    /// What is missed without it.
    pub without: &'static str,
}

const NO_ENGINE: &str = "no engine iptables";

/// Name, table, rule, and what is missed without it.
const EXTENSIONS: [(&str, &str, &str, &str); 12] = [
    ("match tcp, udp", "nat", "-p tcp -m tcp --dport 1 --tcp-flags FIN,SYN,RST,ACK SYN -j RETURN", NO_ENGINE),
    ("match addrtype", "nat", "-m addrtype --dst-type LOCAL -j RETURN", NO_ENGINE),
    ("match conntrack", "mangle", "-m conntrack --ctstate NEW -j RETURN", NO_ENGINE),
    ("match statistic", "mangle", "-m statistic --mode random --probability 0.5 -j RETURN", NO_ENGINE),
    ("match mark", "nat", "-m mark --mark 0x1/0xffff -j RETURN", NO_ENGINE),
    (
        "match socket",
        "filter",
        vacant::LISTENS,
        "clients of a worker of `cluster` that died are refused until it is taken out",
    ),
    ("match comment", "nat", "-m comment --comment probe -j RETURN", NO_ENGINE),
    ("target MARK", "mangle", "-j MARK --set-xmark 0x1/0xffff", NO_ENGINE),
    (
        "target HMARK",
        "mangle",
        "-p tcp -j HMARK --hmark-src-prefix 32 --hmark-mod 16 --hmark-offset 1 --hmark-rnd 1",
        "rules cannot pick by a client's address",
    ),
    ("target REDIRECT", "nat", "-p tcp -j REDIRECT --to-ports 1", NO_ENGINE),
    (
        "target DNAT",
        "nat",
        "-p tcp -j DNAT --to-destination :1",
        "instances with an address cannot be served",
    ),
    (
        "target REJECT",
        "filter",
        "-p tcp -j REJECT --reject-with tcp-reset",
        "`--on-empty reject` does not refuse",
    ),
];

/// Tries every match and target by itself, and changes nothing.
pub fn extensions() -> Vec<Extension> {
    super::in_parallel(&EXTENSIONS, |(_, table, rule, _)| {
        let input = format!("*{table}\n:WOCUT-.probe - [0:0]\n-A WOCUT-.probe {rule}\nCOMMIT\n");
        (exec::test(Family::V4, &input), exec::test(Family::V6, &input))
    })
    .into_iter()
    .map(|((name, _, _, without), (ipv4, ipv6))| Extension { name, ipv4, ipv6, without })
    .collect()
}
