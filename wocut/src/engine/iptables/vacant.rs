//! Workers of a cluster that have died: a client of another host that is led to one is not refused, and gets another one.
//! (`run` has one instance for new connections at a time, so there is no other one.)
//!
//! No rule of the mangle and nat tables knows who listens. Here, behind the translation, the first packet of a connection
//! that would find nobody is dropped: conntrack has not confirmed it, so that the same packet, which clients send again
//! after a second, has a pick of its own. By then whoever started the instance has taken it out.
//!
//! Who has nobody else to go to is refused, and does not wait: where only one instance takes connections, where the
//! instances do not listen in the client's family, or where nobody sees to them as a cluster does. So is a client
//! on this host, whose packet conntrack has confirmed on its way out.

use std::collections::BTreeSet;

use super::{
    exec::{self, ToolError},
    family::Family,
    guard::ranges,
    rules::Chain,
    save::Saved,
};
use crate::{
    model::{Instance, Protocol, Service},
    sys::listeners::{self, Listener},
};

const NAME: &str = "WOCUT-.vacant";
/// Linux 2.6.28, and its option 3.11.
pub(super) const LISTENS: &str = "-m socket --nowildcard -j RETURN";

/// What leads to the chain: first packets alone, as every packet of the host meets it.
pub(super) fn entrance() -> String {
    let first = "-p tcp -m tcp --tcp-flags FIN,SYN,RST,ACK SYN";
    format!("{first} -m conntrack --ctstate NEW ! --ctstatus CONFIRMED -j {NAME}")
}

/// The chain that drops; none where nothing is to be dropped, or where the kernel or the tools lack the match.
pub(super) fn chain(family: Family, saved: &Saved, services: &[&Service]) -> anyhow::Result<Option<Chain>> {
    let concerned: Vec<&&Service> = services.iter().filter(|service| takers(service).count() > 1).collect();
    if concerned.is_empty() {
        return Ok(None);
    }
    let listeners = listeners::tcp()?;
    let drops: Vec<String> =
        concerned.into_iter().flat_map(|service| drops(family, service, &listeners)).collect();
    if drops.is_empty() || !is_known(family, saved)? {
        return Ok(None);
    }
    let rules = std::iter::once(LISTENS.to_owned()).chain(drops).collect();
    Ok(Some(Chain { name: NAME.into(), rules }))
}

/// Those processes that new connections go to.
fn takers(service: &Service) -> impl Iterator<Item = &Instance> {
    service.takers().map(|(instance, _)| instance).filter(|instance| instance.process.is_some())
}

fn drops(family: Family, service: &Service, listeners: &[Listener]) -> Vec<String> {
    let ports: BTreeSet<u16> = takers(service).map(|instance| instance.spec.port).collect();
    let serves = |listener: &Listener| ports.contains(&listener.port) && family.is_taken_by(listener);
    // All of a service's processes are started the same way: where one listens, others do.
    if !listeners.iter().any(serves) {
        return Vec::new();
    }
    let tcp = family.listens(service).filter(|listen| listen.protocol == Protocol::Tcp);
    let asked: BTreeSet<u16> = tcp.map(|listen| listen.port).collect();
    let rule = |ports: String| {
        asked.iter().map(move |asked| {
            format!("-p tcp -m tcp --dport {ports} -m conntrack --ctorigdstport {asked} -j DROP")
        })
    };
    ranges(&ports).flat_map(rule).collect()
}

/// A rule that is there tells as much as a try.
fn is_known(family: Family, saved: &Saved) -> Result<bool, ToolError> {
    if saved.table("filter").is_some_and(|table| table.chains.contains_key(NAME)) {
        return Ok(true);
    }
    match exec::test(family, &format!("*filter\n:WOCUT-.probe - [0:0]\n-A WOCUT-.probe {LISTENS}\nCOMMIT\n"))
    {
        Ok(()) => Ok(true),
        Err(ToolError::Missing { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use insta::assert_debug_snapshot;

    use super::{Family, drops};
    use crate::{
        engine::iptables::tests::service,
        model::{Admin, ProcessId, Service},
        sys::listeners::Listener,
    };

    fn of_processes() -> Service {
        let mut service = service(&["80/tcp", "443/tcp", "53/udp"], &["40400", "40401", "40403", "40404"]);
        for instance in &mut service.instances {
            instance.process = Some(ProcessId { pid: 1, started: 1 });
        }
        service.instances[3].admin = Admin::Drain;
        service
    }

    fn listener(address: &str, v6_only: bool) -> Listener {
        Listener {
            port: 40401,
            address: address.parse().unwrap(),
            v6_only,
            bound_to_device: false,
            accept_queue: 0,
            inode: 0,
        }
    }

    #[test]
    fn ports_where_nobody_may_listen_are_those_of_the_takers() {
        let rules = drops(Family::V4, &of_processes(), &[listener("::", false)]);
        assert_debug_snapshot!(rules, @r#"
        [
            "-p tcp -m tcp --dport 40400:40401 -m conntrack --ctorigdstport 80 -j DROP",
            "-p tcp -m tcp --dport 40400:40401 -m conntrack --ctorigdstport 443 -j DROP",
            "-p tcp -m tcp --dport 40403 -m conntrack --ctorigdstport 80 -j DROP",
            "-p tcp -m tcp --dport 40403 -m conntrack --ctorigdstport 443 -j DROP",
        ]
        "#);
    }

    #[test]
    fn clients_of_a_family_that_nobody_listens_in_are_refused() {
        let is_dropped = |family, listener| !drops(family, &of_processes(), &[listener]).is_empty();
        for (address, v6_only, v4, v6) in [
            ("::", false, true, true),
            ("::", true, false, true),
            ("0.0.0.0", false, true, false),
            ("127.0.0.1", false, false, false),
            ("::1", false, false, false),
        ] {
            assert_eq!(is_dropped(Family::V4, listener(address, v6_only)), v4, "{address}");
            assert_eq!(is_dropped(Family::V6, listener(address, v6_only)), v6, "{address}");
        }
    }
}
