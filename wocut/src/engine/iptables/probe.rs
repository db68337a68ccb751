//! Whether this host can run the engine: found out by trying.

use super::{exec, family::Family};

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
