//! The kernel's word that a UDP socket is bound to a port: programs that it runs within `bind(2)`
//! (`BPF_CGROUP_INET4_POST_BIND`). Linux 5.8.
//!
//! They hang on descriptors of this process, so there is nothing to pin, and nothing to leave behind.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    fs::File,
    io,
    os::fd::{AsFd as _, AsRawFd as _, OwnedFd},
    rc::{Rc, Weak},
};

use anyhow::Context as _;
use aya::maps::{HashMap, Map, MapData, RingBuf};
use tokio::{io::unix::AsyncFd, sync::Notify};

use super::{
    bpf::{self, Instruction, PostBind},
    cgroup, readable,
};

/// A ring that is full loses events. They are of ports that somebody waits for, and few.
const RING_BYTES: u32 = 64 * 1024;

thread_local! {
    /// Whoever waits shares it: the kernel runs no more than 64 programs of a kind on a cgroup.
    static SHARED: RefCell<Weak<Watch>> = const { RefCell::new(Weak::new()) };
}

/// Tells of every UDP socket that is bound to one port, in any network namespace: whoever hears it looks whether it is
/// this one.
pub struct BindEvents {
    port: u16,
    told: Rc<Notify>,
    watch: Rc<Watch>,
}

impl BindEvents {
    /// From here on. Needs a tokio runtime with I/O, `CAP_BPF` and `CAP_NET_ADMIN`, and a cgroup2 mount.
    pub fn of(port: u16) -> anyhow::Result<Self> {
        let watch = SHARED.with_borrow_mut(|shared| {
            if let Some(watch) = shared.upgrade() {
                return Ok(watch);
            }
            let watch = Rc::new(Watch::begin()?);
            *shared = Rc::downgrade(&watch);
            anyhow::Ok(watch)
        })?;
        anyhow::ensure!(!watch.waiting.borrow().contains_key(&port), "port {port} is waited for already");
        watch.ports.borrow_mut().insert(u32::from(port), 0, 0).context("name a port")?;
        let told = Rc::default();
        watch.waiting.borrow_mut().insert(port, Rc::clone(&told));
        Ok(Self { port, told, watch })
    }

    /// Waits for the next one. The kernel tells a moment before others find the socket by its port.
    pub async fn next(&self) -> io::Result<()> {
        loop {
            tokio::select! {
                () = self.told.notified() => return Ok(()),
                readable = self.watch.readable.readable() => readable?.clear_ready(),
            }
            self.watch.pass_on();
        }
    }
}

impl Drop for BindEvents {
    fn drop(&mut self) {
        self.watch.waiting.borrow_mut().remove(&self.port);
        // Of a port that is named still, more is told than is heard.
        let _named = self.watch.ports.borrow_mut().remove(&u32::from(self.port));
    }
}

/// The programs, and what they tell.
struct Watch {
    ports: RefCell<HashMap<MapData, u32, u32>>,
    ring: RefCell<RingBuf<MapData>>,
    readable: AsyncFd<OwnedFd>,
    waiting: RefCell<BTreeMap<u16, Rc<Notify>>>,
    _links: [OwnedFd; 2],
}

impl Watch {
    fn begin() -> anyhow::Result<Self> {
        let ports = bpf::create_hash(4, 4, u16::MAX.into()).context("make a map of ports")?;
        let ring = bpf::create_ring(RING_BYTES).context("make a ring of events")?;
        let root = File::open(cgroup::root()?).context("open the root of cgroups")?;
        let code = code(ports.as_raw_fd(), ring.as_raw_fd());
        let run =
            |family| bpf::run_post_bind(root.as_fd(), family, &code).context("run a program at bind(2)");
        let links = [run(PostBind::V4)?, run(PostBind::V6)?];
        let readable = readable::register(ring.try_clone()?).context("wait for events")?;
        Ok(Self {
            ports: RefCell::new(HashMap::try_from(Map::from_map_data(MapData::from_fd(ports)?)?)?),
            ring: RefCell::new(RingBuf::try_from(Map::from_map_data(MapData::from_fd(ring)?)?)?),
            readable,
            waiting: RefCell::default(),
            _links: links,
        })
    }

    fn pass_on(&self) {
        let (mut ring, waiting) = (self.ring.borrow_mut(), self.waiting.borrow());
        while let Some(event) = ring.next() {
            let port = event.first_chunk().map(|port| u32::from_ne_bytes(*port));
            let told = port.and_then(|port| waiting.get(&u16::try_from(port).ok()?));
            if let Some(told) = told {
                told.notify_one();
            }
        }
    }
}

/// What runs. It is written out here, because the engine's object comes with all of its maps.
fn code(ports: i32, ring: i32) -> [Instruction; 19] {
    // In `struct bpf_sock`, and on the stack.
    const PROTOCOL: i16 = 12;
    const SOURCE_PORT: i16 = 44;
    const PORT: i16 = -4;
    const UDP: i32 = libc::IPPROTO_UDP;
    const MAP_LOOKUP_ELEM: i32 = 1;
    const RINGBUF_OUTPUT: i32 = 130;
    const FORCE_WAKEUP: i32 = 2;
    /// The operand is the descriptor of a map.
    const MAP: u8 = 1;
    [
        // if r1->protocol != UDP goto allow
        instruction(0x61, 2, 1, PROTOCOL, 0),
        instruction(0x55, 2, 0, 15, UDP),
        // if !ports[r1->src_port] goto allow
        instruction(0x61, 2, 1, SOURCE_PORT, 0),
        instruction(0x63, 10, 2, PORT, 0),
        instruction(0x18, 1, MAP, 0, ports),
        instruction(0, 0, 0, 0, 0),
        instruction(0xbf, 2, 10, 0, 0),
        instruction(0x07, 2, 0, 0, PORT.into()),
        instruction(0x85, 0, 0, 0, MAP_LOOKUP_ELEM),
        instruction(0x15, 0, 0, 7, 0),
        // ring <- port
        instruction(0x18, 1, MAP, 0, ring),
        instruction(0, 0, 0, 0, 0),
        instruction(0xbf, 2, 10, 0, 0),
        instruction(0x07, 2, 0, 0, PORT.into()),
        instruction(0xb7, 3, 0, 0, 4),
        instruction(0xb7, 4, 0, 0, FORCE_WAKEUP),
        instruction(0x85, 0, 0, 0, RINGBUF_OUTPUT),
        // allow: return 1
        instruction(0xb7, 0, 0, 0, 1),
        instruction(0x95, 0, 0, 0, 0),
    ]
}

/// `struct bpf_insn` of linux/bpf.h on a little-endian machine, as all of wocut is for.
fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> Instruction {
    let mut bytes = [code, from << 4 | to, 0, 0, 0, 0, 0, 0];
    bytes[2..4].copy_from_slice(&offset.to_le_bytes());
    bytes[4..].copy_from_slice(&value.to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, time::Duration};

    use tokio::time::timeout;

    use super::BindEvents;

    /// A port that is free now.
    fn free() -> u16 {
        UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    #[tokio::test]
    async fn socket_is_heard_of_by_who_waits_for_its_port() {
        const LONG: Duration = Duration::from_secs(10);
        let ports = [free(), free()];
        let [one, other] = match ports.map(BindEvents::of) {
            [Ok(one), Ok(other)] => [one, other],
            [Err(why), _] | [_, Err(why)] => {
                assert!(!rustix::process::geteuid().is_root(), "{why:#}");
                return;
            }
        };
        assert!(BindEvents::of(ports[0]).is_err());
        let _third = UdpSocket::bind("127.0.0.1:0").unwrap();
        let _stream = std::net::TcpListener::bind(("127.0.0.1", ports[0])).unwrap();
        assert!(timeout(Duration::from_millis(20), one.next()).await.is_err());
        for address in ["127.0.0.1", "::1", "0.0.0.0", "::"] {
            drop(UdpSocket::bind((address, ports[0])).unwrap());
            timeout(LONG, one.next()).await.unwrap().unwrap();
            let _socket = UdpSocket::bind((address, ports[1])).unwrap();
            // Whoever hears it passes it on.
            assert!(timeout(Duration::from_millis(20), one.next()).await.is_err());
            timeout(LONG, other.next()).await.unwrap().unwrap();
        }
    }
}
