//! What is pinned, a line each, for people who look into a problem.

use aya::{maps::MapInfo, programs::ProgramInfo};
use wocut_common::maps;

use super::{
    Ebpf,
    pins::{ACCOUNT, LOOKUP, REGISTER, SCAN, settings},
    tc,
};

/// Maps whose rows tell of services and instances. The others hold the key of the pick's hash, sockets, or addresses of
/// clients, or have thousands of rows whatever is attached.
pub const TELLING: [&str; 5] = [maps::SERVICES, maps::CURRENT, maps::INSTANCES, maps::PORTS, maps::COUNTERS];

impl Ebpf<'_> {
    /// Version and namespace of what is pinned, the programs and the maps. What cannot be read is said in its line.
    pub fn inventory(&self) -> Vec<String> {
        let mut lines = vec![match settings(&self.pins) {
            Ok(Some(settings)) => {
                format!("settings: layout {}, netns cookie {}", settings.abi_version, settings.netns_cookie)
            }
            Ok(None) => "nothing is pinned".into(),
            Err(error) => format!("settings: {error:#}"),
        }];
        let is_there = |name: &&str| self.pins.join(name).exists();
        let programs = [LOOKUP, ACCOUNT, REGISTER, SCAN].into_iter().chain(tc::programs());
        lines.extend(programs.filter(is_there).map(|name| self.program(name)));
        let maps = maps::PINNED.into_iter().chain([maps::FLOWS]);
        lines.extend(maps.filter(is_there).map(|name| self.map(name)));
        lines
    }

    fn program(&self, name: &str) -> String {
        match ProgramInfo::from_pin(self.pins.join(name)) {
            Ok(info) => format!(
                "program {name}: id {}, tag {:016x}, type {:?}, {} bytes as machine code",
                info.id(),
                info.tag(),
                info.program_type(),
                info.size_jitted(),
            ),
            Err(error) => format!("program {name}: {error}"),
        }
    }

    fn map(&self, name: &str) -> String {
        match MapInfo::from_pin(self.pins.join(name)) {
            Ok(info) => format!(
                "map {name}: id {}, key {} bytes, value {} bytes, room for {}",
                info.id(),
                info.key_size(),
                info.value_size(),
                info.max_entries(),
            ),
            Err(error) => format!("map {name}: {error}"),
        }
    }
}
