//! Registers listeners that were there before the service: `sock_ops` sees only those that come later.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Read as _},
    net::IpAddr,
    path::Path,
};

use anyhow::Context as _;
use aya::{
    TestRun as _,
    programs::{SchedClassifier, TestRunOptions},
};
use bytes::{Buf as _, BufMut as _};
use wocut_common::{FAMILY_V4, FAMILY_V6, InstanceIds, ListenerKey, MAX_SHARED, Register, Scanned};

use super::{maps::Maps, pins, rows::family_and_bytes};
use crate::{
    model::{self, Name},
    sys::{
        bpf,
        listeners::{self, Listener},
    },
};

/// What became of listeners that were not in the map.
#[derive(Debug, Default)]
pub(super) struct Registered {
    /// Those that get no connections, and why.
    pub(super) warnings: Vec<String>,
    /// Instances whose listeners no socket map takes, but which packets can be handed to: MPTCP.
    pub(super) kept_out: BTreeSet<u32>,
}

/// Puts every listener of an instance into the map that is not there.
pub(super) fn register(
    maps: &Maps,
    pins: &Path,
    services: &[(&Name, &model::Service)],
) -> anyhow::Result<Registered> {
    let mut registered: BTreeMap<(u32, u16), usize> = BTreeMap::new();
    for key in maps.listening()?.iter().filter(|key| key.place < ListenerKey::OWN) {
        *registered.entry((key.instance, key.family)).or_default() += 1;
    }
    let mut by_port: BTreeMap<u16, Vec<(u32, Option<IpAddr>)>> = BTreeMap::new();
    for instance in services.iter().flat_map(|(_, service)| &service.instances) {
        by_port.entry(instance.spec.port).or_default().push((instance.id, instance.spec.address));
    }
    // Under SO_REUSEPORT several listeners are at one place.
    let mut groups: BTreeMap<(bool, IpAddr, u16), Vec<Listener>> = BTreeMap::new();
    for listener in listeners::tcp()? {
        let place = (listener.bound_to_device, listener.address, listener.port);
        groups.entry(place).or_default().push(listener);
    }
    let mut registered_now = Registered::default();
    let Registered { warnings, kept_out } = &mut registered_now;
    let mut means = None;
    for group in groups.values() {
        let Some(listener) = group.first() else { continue };
        let on_port = by_port.get(&listener.port).map_or(&[][..], Vec::as_slice);
        let served = on_port.iter().filter(|(_, address)| listener.serves(*address, listener.port));
        let ids: Vec<u32> = served.map(|(id, _)| *id).take(MAX_SHARED).collect();
        let family = if listener.address.is_ipv4() { FAMILY_V4 } else { FAMILY_V6 };
        let places = group.len().min(ListenerKey::OWN.into());
        if ids.iter().all(|id| registered.get(&(*id, family.into())).is_some_and(|held| *held >= places)) {
            continue;
        }
        if listener.bound_to_device {
            warnings.push(format!("{} gets no connections: {BOUND_TO_DEVICE}", place(listener)));
            continue;
        }
        let means = match &means {
            Some(means) => means,
            None => means.insert(Means::open(pins)?),
        };
        let result = match means {
            Means::Ask(program) => register_group(program, group, &ids)?,
            Means::Scanned(results) => {
                results.get(&(listener.address, listener.port)).map_or(Ok(()), |error| {
                    if *error == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(-error)) }
                })
            }
        };
        match result {
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => kept_out.extend(ids),
            Err(error) => warnings.push(format!("{} gets no connections: {}", place(listener), why(&error))),
            Ok(()) => {}
        }
    }
    Ok(registered_now)
}

/// The way that this kernel has of registering a listener.
enum Means {
    /// The `register` program, on a packet that is the question.
    Ask(Box<SchedClassifier>),
    /// The `scan` program has registered all that there are. By place, the error of it, else 0.
    Scanned(BTreeMap<(IpAddr, u16), i32>),
}

impl Means {
    fn open(pins: &Path) -> anyhow::Result<Self> {
        if pins.join(pins::REGISTER).exists() {
            return Ok(Self::Ask(Box::new(SchedClassifier::from_pin(pins.join(pins::REGISTER))?)));
        }
        let mut output = Vec::new();
        let mut scan = bpf::iterate(&pins.join(pins::SCAN)).context("attach program scan")?;
        scan.read_to_end(&mut output).context("run program scan")?;
        Ok(Self::Scanned(output.chunks_exact(size_of::<Scanned>()).map(scanned).collect()))
    }
}

/// The place of a listener that the `scan` program met, and what became of it.
fn scanned(mut record: &[u8]) -> ((IpAddr, u16), i32) {
    let mut address = [0; 16];
    record.copy_to_slice(&mut address);
    let (port, family) = (record.get_u16_ne(), record.get_u16_ne());
    let address = if family == u16::from(FAMILY_V4) {
        let [a, b, c, d, ..] = address;
        IpAddr::from([a, b, c, d])
    } else {
        IpAddr::from(address).to_canonical()
    };
    let _device = record.get_u32_ne();
    ((address, port), record.get_i32_ne())
}

/// Registers all listeners of one place. Which one a lookup finds is decided by its source port, so it takes several.
fn register_group(
    program: &SchedClassifier,
    group: &[Listener],
    ids: &[u32],
) -> anyhow::Result<Result<(), io::Error>> {
    let Some(listener) = group.first() else { return Ok(Ok(())) };
    let tries = if group.len() == 1 { 1 } else { 16 * u16::try_from(group.len())? };
    let mut missing = group.len();
    for source_port in 1..=tries {
        match ask(program, listener, source_port, ids)? {
            Ok(Found::New) => missing -= 1,
            Ok(_) => {}
            Err(error) => return Ok(Err(error)),
        }
        if missing == 0 {
            break;
        }
    }
    Ok(Ok(()))
}

/// Why a listener that is bound to a device is left out.
pub(super) const BOUND_TO_DEVICE: &str =
    "its daemon listens on one device only (SO_BINDTODEVICE), and would answer there";

/// Why a listener that the kernel does not let into a socket map is left out.
pub(super) const KEPT_OUT: &str = "the kernel lets no MPTCP listener into a socket map";

fn why(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EBUSY) => {
            "the kernel lets no listener with other socket users (SMC, a reuseport array) into a socket map"
                .into()
        }
        _ => error.to_string(),
    }
}

fn place(listener: &Listener) -> String {
    std::net::SocketAddr::new(listener.address, listener.port).to_string()
}

/// What a lookup found.
enum Found {
    /// Nothing: the listener is gone by now.
    Nothing,
    /// A listener that was not registered for these instances, and is now.
    New,
    /// One that was.
    Known,
}

/// Runs the `register` program on one question.
fn ask(
    program: &SchedClassifier,
    listener: &Listener,
    source_port: u16,
    ids: &[u32],
) -> anyhow::Result<Result<Found, io::Error>> {
    let mut instances = InstanceIds::default();
    for (place, id) in instances.iter_mut().zip(ids) {
        *place = *id;
    }
    let (family, address) = family_and_bytes(Some(listener.reachable_at()));

    let mut question = Vec::with_capacity(size_of::<Register>());
    question.put_bytes(0, 12);
    question.put_slice(&Register::ETHERTYPE);
    question.put_u16_ne(listener.port);
    question.put_slice(&address);
    question.put_u32_ne(family.into());
    for id in instances {
        question.put_u32_ne(id);
    }
    question.put_u32_ne(source_port.into());
    question.put_bytes(0, 8);

    let mut answer = [0; size_of::<Register>()];
    let run =
        TestRunOptions { data_in: Some(&question), data_out: Some(&mut answer), ..TestRunOptions::new() };
    program.test_run(run).context("run program register")?;
    let mut result = &answer[answer.len() - 8..];
    let (found, error) = (result.get_u32_ne(), result.get_i32_ne());
    Ok(match found {
        0 => Ok(Found::Nothing),
        1 if error != 0 => Err(io::Error::from_raw_os_error(-error)),
        1 => Ok(Found::New),
        _ => Ok(Found::Known),
    })
}
