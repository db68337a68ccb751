//! Registers listeners that were there before the service: `sock_ops` sees only those that come later.

use std::{
    collections::{BTreeMap, HashSet},
    io,
    net::IpAddr,
    path::Path,
};

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
    let registered: HashSet<ListenerKey> = maps.listening()?.into_iter().collect();
    let mut by_port: BTreeMap<u16, Vec<(u32, Option<IpAddr>)>> = BTreeMap::new();
    for instance in services.iter().flat_map(|(_, service)| &service.instances) {
        by_port.entry(instance.spec.port).or_default().push((instance.id, instance.spec.address));
    }
    let mut warnings = Vec::new();
    let mut program = None;
    for listener in listeners::tcp()? {
        let on_port = by_port.get(&listener.port).map_or(&[][..], Vec::as_slice);
        let served = on_port.iter().filter(|(_, address)| listener.serves(*address, listener.port));
        let ids: Vec<u32> = served.map(|(id, _)| *id).collect();
        let family = if listener.address.is_ipv4() { FAMILY_V4 } else { FAMILY_V6 };
        let is_registered =
            |id: &u32| registered.contains(&ListenerKey { instance: *id, family: family.into() });
        if ids.iter().all(is_registered) {
            continue;
        }
        if listener.bound_to_device {
            warnings.push(format!("{} gets no connections: {BOUND_TO_DEVICE}", place(&listener)));
            continue;
        }
        let program = match &program {
            Some(program) => program,
            None => program.insert(SchedClassifier::from_pin(pins.join(pins::REGISTER))?),
        };
        for ids in ids.chunks(MAX_SHARED) {
            if let Err(error) = ask(program, &listener, ids)? {
                warnings.push(format!("{} gets no connections: {}", place(&listener), why(&error)));
            }
        }
    }
    Ok(warnings)
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

/// Runs the `register` program on one question. A listener that is gone by now is no error.
fn ask(program: &SchedClassifier, listener: &Listener, ids: &[u32]) -> anyhow::Result<Result<(), io::Error>> {
    let mut instances = InstanceIds::default();
    instances[..ids.len()].copy_from_slice(ids);
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
    question.put_bytes(0, 8);

    let mut answer = [0; size_of::<Register>()];
    let run =
        TestRunOptions { data_in: Some(&question), data_out: Some(&mut answer), ..TestRunOptions::new() };
    program.test_run(run).context("run program register")?;
    let mut result = &answer[answer.len() - 8..];
    let (found, error) = (result.get_u32_ne(), result.get_i32_ne());
    Ok(if found == 1 && error != 0 { Err(io::Error::from_raw_os_error(-error)) } else { Ok(()) })
}
