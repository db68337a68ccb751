//! Whether backends are on this host: wocut hands connections to daemons here, and to nobody else.

use std::net::IpAddr;

use anyhow::Context as _;

use super::refusal::Refusal;
use crate::{
    model::{Definition, Wanted},
    sys::rtnetlink,
};

/// Refuses instances that come and are elsewhere. One that is there already may have lost its address for a while.
pub(super) fn check(wanted: &Wanted, services: &[Definition]) -> anyhow::Result<()> {
    let mut addresses = newcomers(wanted, services).peekable();
    if addresses.peek().is_none() {
        return Ok(());
    }
    let here = rtnetlink::addresses().context("read the addresses of this host")?;
    match addresses.find(|address| !here.contains(address)) {
        Some(address) => Err(elsewhere(address).into()),
        None => Ok(()),
    }
}

/// Addresses of instances that were not there, apart from those that every host has.
fn newcomers<'a>(wanted: &'a Wanted, services: &'a [Definition]) -> impl Iterator<Item = IpAddr> + 'a {
    services.iter().flat_map(move |service| {
        let old = wanted.services.get(&service.name);
        let had = move |address| {
            old.is_some_and(|old| old.instances.iter().any(|old| old.spec.address == Some(address)))
        };
        let addresses = service.instances.iter().filter_map(|member| member.spec.address);
        addresses.filter(move |address| !address.is_loopback() && !had(*address))
    })
}

fn elsewhere(address: IpAddr) -> Refusal {
    let what = format!("address: {address} is not an address of this host");
    Refusal::unprocessable(what).hint("a backend is a daemon on this host; what is elsewhere takes a proxy")
}

#[cfg(test)]
mod tests {
    use super::newcomers;
    use crate::{api::fixture::wanted, model::Definition};

    #[test]
    fn only_what_comes_has_to_be_here() {
        let wanted = wanted();
        let mut web = Definition::of(&"web".parse().unwrap(), &wanted.services["web"]);
        assert_eq!(newcomers(&wanted, std::slice::from_ref(&web)).count(), 0);
        web.instances[0].spec.address = Some([192, 0, 2, 1].into());
        let found: Vec<_> = newcomers(&wanted, std::slice::from_ref(&web)).collect();
        assert_eq!(found, [std::net::IpAddr::from([192, 0, 2, 1])]);
    }
}
