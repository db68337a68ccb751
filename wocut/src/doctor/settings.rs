//! Settings of this host, and how full wocut's tables are.

use std::{
    fs::{self, OpenOptions},
    io,
};

use wocut_common::maps::{MAX_INSTANCES, MAX_SERVICES};

use super::{
    Area::{Host as ThisHost, Iptables},
    Finding, seen,
};
use crate::{error::one_line, host::Host};

const RESERVED: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";
const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

pub(super) fn examine(host: &Host) -> Vec<Finding> {
    vec![
        Finding::new(
            ThisHost,
            "reserved ports",
            // To open it for writing writes nothing.
            seen(OpenOptions::new().write(true).open(RESERVED).map(|_| "can be written".to_owned())),
            "an outgoing connection may take a service port, and a daemon's bind fail",
        ),
        Finding::new(
            ThisHost,
            "ports for outgoing connections",
            seen(read(RANGE).map(|range| range.replace('\t', " to "))),
            "instance ports in that range are not told",
        )
        .bonus(),
        Finding::new(
            Iptables,
            "connection tracking",
            seen(conntrack()),
            "it comes with the first rule of engine iptables",
        )
        .bonus(),
        Finding::new(ThisHost, "room", room(host), "no further service can be attached"),
    ]
}

fn read(path: &str) -> io::Result<String> {
    fs::read_to_string(path).map(|text| text.trim().to_owned())
}

fn conntrack() -> io::Result<String> {
    let folder = "/proc/sys/net/netfilter";
    let (count, most) =
        (read(&format!("{folder}/nf_conntrack_count"))?, read(&format!("{folder}/nf_conntrack_max"))?);
    Ok(format!("{count} of at most {most} connections"))
}

fn room(host: &Host) -> (bool, String) {
    match host.wanted() {
        Ok(wanted) => {
            let services = wanted.services.len();
            let instances: usize = wanted.services.values().map(|service| service.instances.len()).sum();
            let found =
                format!("{services} of {MAX_SERVICES} services and {instances} of {MAX_INSTANCES} instances");
            (services < MAX_SERVICES && instances < MAX_INSTANCES, found)
        }
        Err(error) => (false, one_line(&error)),
    }
}
