//! The mark that carries a pick from the mangle table to the nat table.

use std::collections::{BTreeMap, btree_map::Entry};

use crate::model::Instance;

/// The bits of the packet mark that belong to this engine.
pub(crate) const MASK: u16 = 0xffff;

/// Gives every instance of a service a mark, by id.
///
/// The mark is the instance's port. A second instance on the same port, with another address, gets a value that is no
/// instance's port. A mark that an instance has already is kept, because its rule, and with it its counter, hangs on it.
pub(super) fn assign(instances: &[&Instance], held: &BTreeMap<u32, u16>) -> BTreeMap<u32, u16> {
    let mut by_mark: BTreeMap<u16, u32> = BTreeMap::new();
    for instance in instances {
        if let Some(mark) = held.get(&instance.id).filter(|mark| **mark != 0) {
            by_mark.entry(*mark).or_insert(instance.id);
        }
    }
    let mut marks: BTreeMap<u32, u16> = by_mark.iter().map(|(mark, id)| (*id, *mark)).collect();
    let mut crowded = Vec::new();
    for instance in instances {
        if marks.contains_key(&instance.id) {
            continue;
        }
        match by_mark.entry(instance.spec.port) {
            Entry::Occupied(_) => crowded.push(instance.id),
            Entry::Vacant(free) => {
                free.insert(instance.id);
                marks.insert(instance.id, instance.spec.port);
            }
        }
    }
    let free = (1..=MASK).rev().filter(|mark| !by_mark.contains_key(mark));
    marks.extend(crowded.into_iter().zip(free));
    marks
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::assign;
    use crate::model::Instance;

    fn instance(id: u32, spec: &str) -> Instance {
        Instance::new(id, spec.parse().unwrap())
    }

    #[test]
    fn the_mark_is_the_port() {
        let (a, b) = (instance(1, "8001"), instance(2, "8002"));
        assert_eq!(assign(&[&a, &b], &BTreeMap::new()), [(1, 8001), (2, 8002)].into());
    }

    #[test]
    fn one_port_on_two_addresses_has_two_marks_and_keeps_them() {
        let (a, b) = (instance(1, "a=127.0.0.1:8001"), instance(2, "b=127.0.0.2:8001"));
        let first = assign(&[&a, &b], &BTreeMap::new());
        assert_eq!(first, [(1, 8001), (2, 65535)].into());
        let c = instance(3, "c=127.0.0.3:65535");
        assert_eq!(assign(&[&c, &b], &first), [(2, 65535), (3, 65534)].into());
    }
}
