//! HAProxy in TCP mode, one thread: the servers have one core.

use std::net::SocketAddrV4;

use anyhow::Result;

use super::{SERVICE, Service, Up, file};
use crate::bench::Bench;
use crate::bench::peer::process::spawn;
use crate::bench::place::Place;

/// How it picks a server.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::bench) enum Balance {
    Random,
    Leastconn,
}

impl Balance {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Leastconn => "leastconn",
        }
    }
}

pub(super) fn up(balance: Balance, bench: &Bench, place: &Place, service: &Service) -> Result<Up> {
    let configuration = file(bench, "haproxy.cfg", &configuration(balance, service))?;
    let mut haproxy = place.command("haproxy");
    haproxy.args(["-db", "-q", "-f"]).arg(configuration);
    spawn(bench, haproxy, place, SocketAddrV4::new(crate::lan::SERVER, SERVICE), service.transport)
}

fn configuration(balance: Balance, service: &Service) -> String {
    let servers = service.instances.iter().map(|port| format!(" server i{port} 127.0.0.1:{port}\n"));
    format!(
        "global\n nbthread 1\n maxconn 4000\n\
         defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n\
         frontend service\n bind :{SERVICE}\n default_backend instances\n\
         backend instances\n balance {}\n{}",
        balance.name(),
        servers.collect::<String>(),
    )
}
