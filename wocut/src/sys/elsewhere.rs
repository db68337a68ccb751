//! TCP listeners in other network namespaces: a daemon that listens there is no instance here, however it looks in a
//! list of processes.

use std::{
    collections::BTreeSet,
    fmt, fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

/// Namespaces that are looked into: it is for telling people, and no more than that.
const MOST: usize = 64;

/// A listener in another namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its port.
    pub port: u16,
    /// A process that lives there.
    process: u32,
    /// Inode number of the namespace.
    netns: u64,
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, netns, .. } = self;
        write!(f, "somebody does in another network namespace, net:[{netns}], that of process {process}")
    }
}

/// Those that this process may see. `here` is the inode number of the namespace that is left out.
pub fn listeners(here: u64) -> Vec<Elsewhere> {
    let mut seen = BTreeSet::from([here]);
    let mut found = Vec::new();
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    for process in processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()) {
        let folder = PathBuf::from("/proc").join(process.to_string());
        let Ok(netns) = fs::metadata(folder.join("ns/net")).map(|namespace| namespace.ino()) else {
            continue;
        };
        if !seen.insert(netns) {
            continue;
        }
        if seen.len() > MOST {
            break;
        }
        let ports = ["net/tcp", "net/tcp6"].into_iter().flat_map(|table| ports(&folder.join(table)));
        found.extend(ports.map(|port| Elsewhere { port, process, netns }));
    }
    found
}

fn ports(table: &Path) -> Vec<u16> {
    let table = fs::read_to_string(table).unwrap_or_default();
    table.lines().filter_map(listening).collect()
}

/// The port of a line like `  0: 0100007F:1F90 00000000:0000 0A …`, if it is a listener's.
fn listening(line: &str) -> Option<u16> {
    let mut words = line.split_ascii_whitespace();
    let (local, state) = (words.nth(1)?, words.nth(1)?);
    let (_, port) = local.rsplit_once(':')?;
    (state == "0A").then(|| u16::from_str_radix(port, 16).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::listening;

    #[test]
    fn only_listeners_are_read() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 1 1";
        assert_eq!(listening(line), Some(8080));
        assert_eq!(listening(&line.replace(" 0A ", " 01 ")), None);
        assert_eq!(listening("  sl  local_address rem_address   st tx_queue rx_queue"), None);
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "\\PC*") {
            let _any = listening(&line);
        }
    }
}
