//! What something else has taken away from the engine, or changed.

use super::{Ebpf, maps::Maps, pins, sync, tc};
use crate::{
    model::{Name, Service},
    sys::bpf::target_of_link,
};

/// A line for each thing that is not as these services want it.
pub(super) fn find(engine: &Ebpf<'_>, services: &[(&Name, &Service)]) -> anyhow::Result<Vec<String>> {
    if !pins::are_there(&engine.pins, engine.netns)? {
        return Ok(vec![format!("pins of the ebpf engine are missing in {}", engine.pins.display())]);
    }
    let mut found = Vec::new();
    for link in [pins::LOOKUP_LINK, pins::ACCOUNT_LINK] {
        if target_of_link(&engine.pins.join(link)).is_ok_and(|target| target == 0) {
            found.push(format!("{link} was detached"));
        }
    }
    let is_on_tc = tc::is_loaded(&engine.pins);
    if is_on_tc {
        found.extend(tc::bare(&engine.pins)?);
    }
    found.extend(sync::describe(Some(&Maps::open(&engine.pins)?), is_on_tc, services)?);
    Ok(found)
}
