//! Instances of `run` and `cluster` that have died: who is led to one is not refused, and gets another one.
//!
//! No rule of the mangle and nat tables knows who listens. Here, behind the translation, the first packet of a connection
//! that would find nobody is dropped: conntrack has not confirmed it, so that the same packet, which clients send again
//! after a second, has a pick of its own. By then whoever started the instance has taken it out. Others have nobody who
//! does that: their clients are to be refused, and not to wait.

use std::collections::BTreeSet;

use super::{exec, family::Family, guard::ranges, rules::Chain, save::Saved};
use crate::model::{Protocol, Service};

const NAME: &str = "WOCUT-.vacant";
/// Linux 2.6.28, and its option 3.11.
pub(super) const LISTENS: &str = "-m socket --nowildcard -j RETURN";

/// The chain that decides.
pub(super) fn chain() -> Chain {
    Chain { name: NAME.into(), rules: vec![LISTENS.into(), "-j DROP".into()] }
}

/// What leads to it, for the filter table's chain; nothing where the kernel or the tools lack the match.
pub(super) fn rules(family: Family, saved: &Saved, services: &[&Service]) -> Vec<String> {
    let rules: Vec<String> = services.iter().flat_map(|service| service_rules(family, service)).collect();
    if rules.is_empty() || is_known(family, saved) { rules } else { Vec::new() }
}

fn service_rules(family: Family, service: &Service) -> Vec<String> {
    let of_processes = service.instances.iter().filter(|instance| instance.process.is_some());
    let ports: BTreeSet<u16> = of_processes.map(|instance| instance.spec.port).collect();
    let tcp = family.listens(service).filter(|listen| listen.protocol == Protocol::Tcp);
    let asked: BTreeSet<u16> = tcp.map(|listen| listen.port).collect();
    let rule = |ports: String| {
        asked.iter().map(move |asked| {
            format!(
                "-p tcp -m tcp --dport {ports} --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate NEW \
                 --ctorigdstport {asked} -j {NAME}"
            )
        })
    };
    ranges(&ports).flat_map(rule).collect()
}

/// A rule that is there tells as much as a try.
fn is_known(family: Family, saved: &Saved) -> bool {
    let is_there = saved.table("filter").is_some_and(|table| table.chains.contains_key(NAME));
    let try_out = || format!("*filter\n:WOCUT-.probe - [0:0]\n-A WOCUT-.probe {LISTENS}\nCOMMIT\n");
    is_there || exec::test(family, &try_out()).is_ok()
}
