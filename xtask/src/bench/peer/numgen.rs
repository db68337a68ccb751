//! One rule of nftables: a random number looks a port up in a map.

use anyhow::Result;

use super::{SERVICE, Service, Up, file};
use crate::bench::Bench;
use crate::bench::place::Place;
use crate::command;

pub(super) fn up(bench: &Bench, place: &Place, service: &Service) -> Result<Up> {
    let rules = file(bench, "numgen.nft", &ruleset(service))?;
    command::quietly(place.command("nft").arg("-f").arg(rules))?;
    let mut undo = place.command("nft");
    undo.args(["delete", "table", "ip", "bench"]);
    Ok(Up::undone_by(undo))
}

fn ruleset(service: &Service) -> String {
    let pairs = service.instances.iter().enumerate().map(|(number, port)| format!("{number} : {port}"));
    format!(
        "table ip bench {{\n chain prerouting {{\n  type nat hook prerouting priority dstnat;\n  \
         {transport} dport {SERVICE} redirect to :numgen random mod {count} map {{ {map} }}\n }}\n}}\n",
        transport = service.transport.name(),
        count = service.instances.len(),
        map = pairs.collect::<Vec<_>>().join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::ruleset;
    use crate::bench::peer::{Service, Transport, ports};

    #[test]
    fn every_number_has_a_port() {
        let rules = ruleset(&Service { transport: Transport::Udp, instances: ports(2) });
        assert!(rules.contains("udp dport 82 redirect to :numgen random mod 2 map { 0 : 20001, 1 : 20002 }"));
    }
}
