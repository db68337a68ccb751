//! What programs tell of instances, as it happens.

use std::os::fd::{AsFd as _, OwnedFd};

use anyhow::Context as _;
use aya::maps::{Map, MapData, RingBuf};
use tokio::io::unix::AsyncFd;
use wocut_common::{Event, maps};

use super::Ebpf;
use crate::sys::readable;

/// What a program saw of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sight {
    /// A daemon listens for it from now on.
    Listens,
    /// A connection was for it, and nobody listens.
    Absent,
    /// A connection was for it, and its accept queue is full.
    Full,
    /// A connection was for it, and the kernel would not give it to the listener.
    Refused,
    /// It reset a connection on which it had sent nothing.
    Reset,
}

impl Sight {
    fn of(what: u32) -> Option<Self> {
        Some(match what {
            Event::LISTENS => Self::Listens,
            Event::ABSENT => Self::Absent,
            Event::FULL => Self::Full,
            Event::REFUSED => Self::Refused,
            Event::RESET => Self::Reset,
            _ => return None,
        })
    }
}

impl std::fmt::Display for Sight {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Listens => "it listens",
            Self::Absent => "a connection found nobody listening",
            Self::Full => "a connection found its accept queue full",
            Self::Refused => "the kernel would not give it a connection",
            Self::Reset => "it reset a connection without an answer",
        })
    }
}

/// The events of one namespace, read along. One reader at a time gets them all.
pub struct Events {
    ring: RingBuf<MapData>,
    readable: AsyncFd<OwnedFd>,
    id: u32,
}

impl Events {
    /// From here on: what was told before is no news.
    pub fn open(engine: &Ebpf<'_>) -> anyhow::Result<Self> {
        let data = MapData::from_pin(engine.pins.join(maps::EVENTS)).context("open map events")?;
        let id = data.info().context("look at map events")?.id();
        let fd = data.fd().as_fd().try_clone_to_owned().context("wait for events")?;
        let mut ring: RingBuf<MapData> =
            Map::from_map_data(data)?.try_into().context("map events is of another type")?;
        while ring.next().is_some() {}
        Ok(Self { ring, readable: readable::register(fd).context("wait for events")?, id })
    }

    /// Whether these are still the events of what is pinned.
    pub fn are_current(&self, engine: &Ebpf<'_>) -> bool {
        MapData::from_pin(engine.pins.join(maps::EVENTS))
            .is_ok_and(|data| data.info().is_ok_and(|info| info.id() == self.id))
    }

    /// Waits for the next ones: instance ids, and what was seen of them.
    pub async fn next(&mut self) -> anyhow::Result<Vec<(u32, Sight)>> {
        let mut found = Vec::new();
        while found.is_empty() {
            self.readable.readable().await.context("wait for events")?.clear_ready();
            while let Some(event) = self.ring.next() {
                let number = |at: usize| event.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
                found.extend(number(0).zip(number(4).and_then(Sight::of)));
            }
        }
        Ok(found)
    }
}
