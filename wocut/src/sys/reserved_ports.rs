//! `net.ipv4.ip_local_reserved_ports`: ports that the kernel gives to no outgoing connection.
//!
//! No socket holds a service port, so without this an outgoing connection could take it, or a daemon's `bind` fail.

use std::{collections::BTreeSet, fs};

use anyhow::Context as _;

const FILE: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// Those of `ports` that are not in it.
pub fn missing(ports: &BTreeSet<u16>) -> anyhow::Result<BTreeSet<u16>> {
    if ports.is_empty() {
        return Ok(BTreeSet::new());
    }
    Ok(ports.difference(&read()?).copied().collect())
}

/// Puts `add` in and takes `remove` out, and touches nothing else.
pub fn change(add: &BTreeSet<u16>, remove: &BTreeSet<u16>) -> anyhow::Result<()> {
    if add.is_empty() && remove.is_empty() {
        return Ok(());
    }
    let before = read()?;
    let after: BTreeSet<u16> = before.difference(remove).chain(add).copied().collect();
    if after != before {
        fs::write(FILE, format(&after)).with_context(|| format!("write {FILE}"))?;
    }
    Ok(())
}

fn read() -> anyhow::Result<BTreeSet<u16>> {
    fs::read_to_string(FILE).with_context(|| format!("read {FILE}")).map(|text| parse(&text))
}

fn parse(text: &str) -> BTreeSet<u16> {
    let ranges = text.trim().split(',').filter_map(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        Some(first.parse::<u16>().ok()?..=last.parse().ok()?)
    });
    ranges.flatten().collect()
}

/// As the setting is written: ranges, and a newline at the end.
pub fn format(ports: &BTreeSet<u16>) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for &port in ports {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == port => *last = port,
            _ => ranges.push((port, port)),
        }
    }
    let text: Vec<String> = ranges
        .iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}-{last}") })
        .collect();
    // An empty write changes nothing; a newline clears the list.
    text.join(",") + "\n"
}

#[cfg(test)]
mod tests {
    use super::{format, parse};

    #[test]
    fn ranges_survive_a_round_trip() {
        for text in ["\n", "80\n", "80-82,443\n", "1,3,5-65535\n"] {
            assert_eq!(format(&parse(text)), text);
        }
    }
}
