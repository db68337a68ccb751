//! Whether backends are on this host: wocut hands connections to daemons here, and to nobody else.

use std::net::IpAddr;

use anyhow::Context as _;

use super::refusal::Refusal;
use crate::{
    model::{CheckOverride, Definition, Wanted},
    sys::rtnetlink,
};

/// Refuses instances that come and are elsewhere, and checks that would ask elsewhere: whoever may change services is
/// told what is answered there. What is there already may have lost its address for a while.
pub(super) fn check(wanted: &Wanted, services: &[Definition]) -> anyhow::Result<()> {
    let addresses = newcomers(wanted, services);
    if addresses.is_empty() {
        return Ok(());
    }
    let here = rtnetlink::addresses().context("read the addresses of this host")?;
    match addresses.iter().find(|(_, address)| !here.contains(address)) {
        Some((key, address)) => Err(elsewhere(key, *address).into()),
        None => Ok(()),
    }
}

/// Addresses that were not there, apart from those that every host has, and what they are.
fn newcomers(wanted: &Wanted, services: &[Definition]) -> Vec<(&'static str, IpAddr)> {
    let mut found = Vec::new();
    for service in services {
        let old = wanted.services.get(&service.name).map(|old| Definition::of(&service.name, old));
        let had: Vec<_> = old.iter().flat_map(addresses).collect();
        found.extend(addresses(service).filter(|one| !one.1.is_loopback() && !had.contains(one)));
    }
    found
}

fn addresses(service: &Definition) -> impl Iterator<Item = (&'static str, IpAddr)> {
    let own = service.instances.iter().filter_map(|member| match &member.check {
        Some(CheckOverride::Own(check)) => Some(check.as_ref()),
        _ => None,
    });
    let checks = service.check.iter().chain(own).filter_map(|check| Some(("check", check.address?)));
    let instances = service.instances.iter().filter_map(|member| Some(("address", member.spec.address?)));
    instances.chain(checks)
}

fn elsewhere(key: &str, address: IpAddr) -> Refusal {
    let what = format!("{key}: {address} is not an address of this host");
    Refusal::unprocessable(what).hint("a backend is a daemon on this host; what is elsewhere takes a proxy")
}

#[cfg(test)]
mod tests {
    use super::newcomers;
    use crate::{
        api::fixture::wanted,
        model::{Check, CheckKind, Definition},
    };

    #[test]
    fn only_what_comes_has_to_be_here() {
        let wanted = wanted();
        let mut web = Definition::of(&"web".parse().unwrap(), &wanted.services["web"]);
        let mut found = |address: Option<[u8; 4]>, check: Option<[u8; 4]>| {
            web.instances[0].spec.address = address.map(Into::into);
            let checked =
                |address: [u8; 4]| Check { address: Some(address.into()), ..Check::of(CheckKind::Tcp) };
            web.check = check.map(checked);
            let found = newcomers(&wanted, std::slice::from_ref(&web));
            found.into_iter().map(|(key, address)| format!("{key} {address}")).collect::<Vec<_>>()
        };
        assert!(found(None, None).is_empty());
        assert_eq!(found(Some([192, 0, 2, 1]), None), ["address 192.0.2.1"]);
        assert_eq!(found(None, Some([192, 0, 2, 1])), ["check 192.0.2.1"]);
        assert!(found(Some([127, 0, 0, 9]), Some([127, 0, 0, 9])).is_empty());
    }
}
