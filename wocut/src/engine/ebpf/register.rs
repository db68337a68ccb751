//! Registers listeners that were there before the service: `sock_ops` sees only those that come later.

use std::{collections::BTreeMap, io, net::IpAddr, path::Path};

use anyhow::Context as _;
use aya::{
    TestRun as _,
    programs::{SchedClassifier, TestRunOptions},
};
use bytes::{Buf as _, BufMut as _};
use wocut_common::{FAMILY_V4, FAMILY_V6, InstanceIds, ListenerKey, MAX_SHARED, Register};

use super::{maps::Maps, pins, rows::family_and_bytes};
use crate::{
    model::{self, Name},
    sys::listeners::{self, Listener},
};

/// Puts every listener of an instance into the map that is not there. Returns those that the kernel keeps out.
pub(super) fn register(
    maps: &Maps,
    pins: &Path,
    services: &[(&Name, &model::Service)],
) -> anyhow::Result<Vec<String>> {
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
    let mut warnings = Vec::new();
    let mut program = None;
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
        let program = match &program {
            Some(program) => program,
            None => program.insert(SchedClassifier::from_pin(pins.join(pins::REGISTER))?),
        };
        if let Err(error) = register_group(program, group, &ids)? {
            warnings.push(format!("{} gets no connections: {}", place(listener), why(&error)));
        }
    }
    Ok(warnings)
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
pub(super) const KEPT_OUT: &str = "the kernel lets no MPTCP listener into a socket map (a Go daemon listens without MPTCP under GODEBUG=multipathtcp=0)";

fn why(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::EOPNOTSUPP) => KEPT_OUT.into(),
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
