//! The open connections that came through a service, told from others by what `account` noted on their sockets.
//!
//! Socket diagnostics show what is stored on a socket since Linux 5.7: on every kernel that runs `lookup`.

use std::{os::fd::AsFd as _, path::Path};

use anyhow::Context as _;
use aya::maps::MapData;
use wocut_common::{Owner, maps};

use super::flows::{Flows, Open};
use crate::{
    model::Service,
    sys::connections::{self, Connection},
};

/// How many connections came through the service to its instances.
pub(super) fn count(pins: &Path, service: &Service) -> anyhow::Result<usize> {
    Ok(tcp(pins, service)?.len() + udp(pins, service)?.1.len())
}

/// Ends them; returns how many.
pub(super) fn kill(pins: &Path, service: &Service) -> anyhow::Result<usize> {
    let (flows, open) = udp(pins, service)?;
    if let Some(mut flows) = flows {
        open.iter().try_for_each(|flow| flows.forget(flow))?;
    }
    Ok(open.len() + connections::destroy(&tcp(pins, service)?)?)
}

/// The flows of its datagrams, and the map that they are in.
fn udp(pins: &Path, service: &Service) -> anyhow::Result<(Option<Flows>, Vec<Open>)> {
    let flows = Flows::open(pins)?;
    let mut open = flows.as_ref().map(Flows::alive).transpose()?.unwrap_or_default();
    let is_mine = |id: u32| service.instances.iter().any(|instance| instance.id == id);
    open.retain(|flow| flow.service == service.index && is_mine(flow.instance));
    Ok((flows, open))
}

/// By owner, not by port: a service that was attached anew elsewhere has connections on the port that it left.
fn tcp(pins: &Path, service: &Service) -> anyhow::Result<Vec<Connection>> {
    let pin = pins.join(maps::OWNERS);
    let owners = MapData::from_pin(&pin).with_context(|| format!("open map {}", pin.display()))?;
    let mut open = connections::open(Some(owners.fd().as_fd()))?;
    open.retain(|open| open.storage.as_deref().and_then(owner).is_some_and(|owner| is_of(service, &owner)));
    Ok(open)
}

/// On a connection that did not come through a service the owner is the listener's, which names none.
fn is_of(service: &Service, owner: &Owner) -> bool {
    owner.service == service.index
        && service.instances.iter().any(|instance| instance.id == owner.instances[0])
}

/// Reads a row of map `owners`.
fn owner(bytes: &[u8]) -> Option<Owner> {
    let mut words = bytes.chunks_exact(4).map_while(|word| word.try_into().ok().map(u32::from_ne_bytes));
    let mut owner = Owner::default();
    for instance in &mut owner.instances {
        *instance = words.next()?;
    }
    owner.service = words.next()?;
    Some(owner)
}

#[cfg(test)]
mod tests {
    use wocut_common::Owner;

    use super::owner;

    #[test]
    fn an_owner_is_read_as_the_kernel_half_writes_it() {
        let written = Owner { instances: [7, 8, 0, 0], service: 3 };
        let bytes: Vec<u8> = [7u32, 8, 0, 0, 3].iter().flat_map(|word| word.to_ne_bytes()).collect();
        assert_eq!(bytes.len(), size_of::<Owner>());
        assert_eq!(owner(&bytes), Some(written));
        assert_eq!(owner(&bytes[..19]), None);
    }
}
