//! What the tools and the kernel have of what the iptables engine uses.

use super::{Area::Iptables, Finding};
use crate::{engine::iptables, sys::tool};

pub(super) fn examine() -> Vec<Finding> {
    let mut findings = vec![
        Finding::new(Iptables, "flavour", flavour(), "no engine iptables"),
        Finding::new(Iptables, "IPv4 rules", nat_table(false), "no engine iptables"),
        Finding::new(Iptables, "IPv6 rules", nat_table(true), "engine iptables balances IPv4 only"),
    ];
    let of_each = iptables::extensions().into_iter().map(|extension| {
        let found = match (&extension.ipv4, &extension.ipv6) {
            (Ok(()), Ok(())) => "IPv4 and IPv6".into(),
            (Ok(()), Err(error)) => format!("IPv4; for IPv6: {error}"),
            (Err(error), _) => error.to_string(),
        };
        let here = extension.ipv4.is_ok();
        Finding::new(Iptables, extension.name, (here, found), extension.without)
    });
    findings.extend(of_each);
    findings
}

/// What `iptables` is here.
fn flavour() -> (bool, String) {
    match tool::read(&["iptables"], &["-V"]) {
        Ok(Some(text)) => {
            let kind = if text.contains("nf_tables") { "nft" } else { "legacy" };
            (true, format!("{kind}: {}", text.trim()))
        }
        Ok(None) => (false, "`iptables` is not in PATH; it comes with the package iptables".into()),
        Err(error) => (false, error.to_string()),
    }
}

/// Whether the tool of a family is there and may look into the nat table, and whether wocut has rules in it.
fn nat_table(ipv6: bool) -> (bool, String) {
    let chains = || ::iptables::new(ipv6)?.list_chains("nat");
    match chains() {
        Ok(chains) if chains.iter().any(|chain| chain.starts_with("WOCUT")) => (true, "in use".into()),
        // The crate takes a tool that fails for one that lists nothing; every nat table has PREROUTING.
        Ok(chains) => {
            let here = chains.iter().any(|chain| chain == "PREROUTING");
            (here, if here { "not in use" } else { "the nat table cannot be listed" }.into())
        }
        Err(error) => (false, error.to_string()),
    }
}
