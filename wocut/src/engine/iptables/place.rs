//! Where an instance may be, for its rules to reach it.

use std::{
    fs,
    net::{IpAddr, UdpSocket},
};

use super::family::Family;
use crate::model::{Instance, Service};

/// Why this engine cannot lead to an instance, if so.
pub(super) fn refusal(family: Family, service: &Service, instance: &Instance) -> Option<String> {
    let address = instance.spec.address?;
    if !is_local(address) {
        return Some(format!("{address} is not an address of this host"));
    }
    if !address.is_loopback() || listens_on_loopback_only(family, service) {
        return None;
    }
    match address {
        IpAddr::V4(_) if routes_loopback() => None,
        IpAddr::V4(_) => Some(format!(
            "the kernel takes no packet from outside for {address} unless net.ipv4.conf.all.route_localnet is 1; \
             leave the address out, or set that"
        )),
        IpAddr::V6(_) => {
            Some(format!("the kernel takes no packet from outside for {address}; leave the address out"))
        }
    }
}

/// Whether a socket can have the address.
pub(super) fn is_local(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

fn listens_on_loopback_only(family: Family, service: &Service) -> bool {
    family.listens(service).all(|listen| listen.address.is_some_and(|address| address.is_loopback()))
}

/// Whether every interface lets packets from outside be translated to 127.0.0.0/8.
fn routes_loopback() -> bool {
    let conf = "/proc/sys/net/ipv4/conf";
    let is_on = |name: &str| {
        fs::read_to_string(format!("{conf}/{name}/route_localnet")).is_ok_and(|text| text.trim() == "1")
    };
    if is_on("all") {
        return true;
    }
    let Ok(names) = fs::read_dir(conf) else { return false };
    let mut names = names.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.all(|name| ["all", "default", "lo"].contains(&name.as_str()) || is_on(&name))
}
