//! The flows of datagrams: what a connection is to TCP. The programs keep them, and forget those that fall silent.

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::Context as _;
use aya::maps::{HashMap, Map, MapData, MapError};
use rustix::time::{ClockId, clock_gettime};
use wocut_common::{Flow, FlowKey, maps};

/// Map `flows`.
pub(super) struct Flows(HashMap<MapData, FlowKey, Flow>);

/// A flow that is not silent for too long, in the direction of its requests.
#[derive(Clone, Copy, Debug)]
pub(super) struct Open {
    pub(super) service: u32,
    pub(super) instance: u32,
    key: FlowKey,
    instance_port: u16,
}

impl Flows {
    /// `None`: no service has datagrams.
    pub(super) fn open(pins: &Path) -> anyhow::Result<Option<Self>> {
        let pin = pins.join(maps::FLOWS);
        if !pin.exists() {
            return Ok(None);
        }
        let data = MapData::from_pin(&pin).with_context(|| format!("open map {}", pin.display()))?;
        let map = HashMap::try_from(Map::from_map_data(data)?)
            .with_context(|| format!("map {} is of another type", pin.display()))?;
        Ok(Some(Self(map)))
    }

    /// Every flow whose last datagram, either way, is not too long ago.
    pub(super) fn alive(&self) -> anyhow::Result<Vec<Open>> {
        let now = clock_gettime(ClockId::Monotonic);
        let now = Duration::try_from(now).context("read the clock")?;
        let since = u64::try_from(now.as_nanos())?.saturating_sub(Flow::IDLE);
        // A flow that was picked anew leaves the row of the replies that it had before: requests say where it goes.
        let (mut requests, mut replies) = (BTreeMap::new(), BTreeMap::new());
        for row in &self.0 {
            let (key, flow) = match row {
                // The programs took it out in the meantime.
                Err(MapError::KeyNotFound) => continue,
                row => row.context("read map flows")?,
            };
            let port = u16::try_from(flow.port)?;
            let is_request = key.direction == FlowKey::REQUESTS;
            let (local_port, instance_port) =
                if is_request { (key.local_port, port) } else { (port, key.local_port) };
            let key = FlowKey { local_port, direction: FlowKey::REQUESTS, ..key };
            let Flow { service, instance, seen, .. } = flow;
            let rows = if is_request { &mut requests } else { &mut replies };
            rows.insert(key, (seen, Open { service, instance, key, instance_port }));
        }
        let mut open = Vec::new();
        for (key, (seen, flow)) in requests {
            let answered = replies.remove(&key).filter(|(_, reply)| reply.instance == flow.instance);
            if seen.max(answered.map_or(0, |(seen, _)| seen)) >= since {
                open.push(flow);
            }
        }
        open.extend(replies.into_values().filter(|(seen, _)| *seen >= since).map(|(_, flow)| flow));
        Ok(open)
    }

    /// Forgets a flow: its next datagram is picked for.
    pub(super) fn forget(&mut self, flow: &Open) -> anyhow::Result<()> {
        let replies = FlowKey { local_port: flow.instance_port, direction: FlowKey::REPLIES, ..flow.key };
        for key in [flow.key, replies] {
            match self.0.remove(&key) {
                Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => {
                }
                other => other.context("remove a row of map flows")?,
            }
        }
        Ok(())
    }
}
