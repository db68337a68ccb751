//! Brings the programs up: maps, programs, links, each pinned as soon as it exists.
//!
//! A kill at any point leaves pins that the next load takes up again. Nothing is attached before its maps are pinned,
//! so no program ever runs on maps that no command can reach. A link that is there gets the new program: somebody may
//! have removed the pin of a map, and the old program would go on with the map that nobody finds any more.

use std::{
    fs::{self, File},
    io::ErrorKind,
    os::{fd::AsFd as _, unix::fs::DirBuilderExt as _},
    path::Path,
    thread,
};

use anyhow::{Context as _, bail};
use aya::{
    Btf, Ebpf, EbpfLoader, include_bytes_aligned,
    maps::{Array, MapData},
    programs::{CgroupAttachMode, Iter, Program, SchedClassifier, SkLookup, SockOps, links::FdLink},
};
use wocut_common::{ABI_VERSION, Settings, maps};

use super::{
    offsets::KernelTypes,
    pins,
    tables::{self, Tables},
};
use crate::sys::{
    bpf::{lift_memory_limit, update_link},
    bpffs, cgroup,
    netns::Netns,
    without_files,
};

/// The kernel half, built by `cargo xtask build` and checked in.
static OBJECT: &[u8] = include_bytes_aligned!("wocut.bpf.o");

/// Parses the object for the running kernel, on the maps that are pinned.
pub(super) fn object(pins: &Path, netns: &Netns, with_flows: bool) -> anyhow::Result<Ebpf> {
    let settings = pins::settings(pins)?.with_context(|| pins::Gone(pins.to_owned()))?;
    parse(pins, netns, &settings, with_flows)
}

/// Parses the object for the running kernel, with every map taken from its pin, or pinned if it is new.
fn parse(pins: &Path, netns: &Netns, settings: &Settings, with_flows: bool) -> anyhow::Result<Ebpf> {
    lift_memory_limit();
    // aya would read the kernel's type information, for relocations that the object has none of: 20 to 30 ms.
    let mut loader = without_files::run(EbpfLoader::new).context("prepare to load programs")?;
    let types = KernelTypes::running();
    let (inode, has_interface) = (u32::try_from(netns.inode)?, u32::from(types.lookup_has_interface));
    loader.override_global("NETNS_INODE", &inode, true);
    loader.override_global("OFFSETS", &types.offsets, true);
    loader.override_global("HAS_INTERFACE", &has_interface, true);
    loader.override_global("HASH_KEY", &settings.hash_key, true);
    for name in maps::PINNED {
        loader.map_pin_path(name, pins.join(name));
    }
    if with_flows {
        loader.map_pin_path(maps::FLOWS, pins.join(maps::FLOWS));
        loader.map_max_entries(maps::FLOWS, u32::try_from(maps::MAX_FLOWS)?);
    }
    if aya::util::KernelVersion::current().is_ok_and(|version| version < MISNAMES_CONTEXT_UNTIL) {
        return loader.load(&misnamed(OBJECT)).context("create maps");
    }
    loader.load(OBJECT).context("create maps")
}

/// Linux before 5.14 takes the context of `sk_lookup` programs for that of socket filters, where it checks functions by
/// themselves: the last line of its table of contexts overwrites the entry (`bpf_ctx_convert_map` in `kernel/bpf/btf.c`).
const MISNAMES_CONTEXT_UNTIL: aya::util::KernelVersion = aya::util::KernelVersion::new(5, 14, 0);

/// The object with the context of `sk_lookup` under the name that those kernels expect.
fn misnamed(object: &[u8]) -> Vec<u8> {
    let (name, expected) = (b"\0bpf_sk_lookup\0", b"\0__sk_buff\0\0\0\0\0");
    let mut object = object.to_vec();
    if let Some(at) = object.windows(name.len()).position(|window| window == name) {
        object[at..at + name.len()].copy_from_slice(expected);
    }
    object
}

/// Loads and attaches everything that is not there yet.
pub(super) fn load(pins: &Path, netns: &Netns) -> anyhow::Result<()> {
    bpffs::ensure_mounted()?;
    match fs::DirBuilder::new().recursive(true).mode(0o700).create(pins) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("make {}", pins.display()));
        }
        _ => {}
    }
    pins::sweep(pins)?;
    for (link, program) in [(pins::ACCOUNT_LINK, pins::ACCOUNT), (pins::LOOKUP_LINK, pins::LOOKUP)] {
        pins::expect_ours(&pins.join(link), &pins.join(program))?;
    }
    tables::prepare(pins)?;
    let is_drawn = |settings: &Settings| settings.abi_version != 0;
    let settings = pins::settings(pins)?.filter(is_drawn).map_or_else(|| draw(netns), Ok)?;
    let mut object = parse(pins, netns, &settings, false)?;
    let map = object.map_mut(maps::SETTINGS).context("the object has no settings")?;
    let mut place: Array<&mut MapData, Settings> = map.try_into()?;
    place.set(0, settings, 0).context("write the settings")?;
    // The kernel checks programs, and waits for programs, 10 to 40 ms each.
    let tables = pins.to_owned();
    let tables = thread::spawn(move || Tables::open(&tables)?.reserve());
    let loaded = load_programs(&mut object, pins, netns);
    let reserved = tables.join();
    loaded?;
    match reserved {
        Ok(reserved) => reserved.context("make slot tables"),
        Err(_) => bail!("the thread that makes slot tables ended early"),
    }
}

/// Loads and attaches the programs.
fn load_programs(object: &mut Ebpf, pins: &Path, netns: &Netns) -> anyhow::Result<()> {
    let refused = check(object)?;
    pin_register(object, pins, refused)?;

    let account: &mut SockOps = program(object, pins::ACCOUNT)?;
    repin(pins, pins::ACCOUNT, |path| Ok(account.pin(path)?))?;
    let link = pins.join(pins::ACCOUNT_LINK);
    if link.exists() {
        update_link(&link, account.fd()?.as_fd()).context("put program account on its link")?;
    } else {
        let root = cgroup::root()?;
        let cgroup = File::open(&root).with_context(|| format!("open {}", root.display()))?;
        let id = account
            .attach(cgroup, CgroupAttachMode::Single)
            .with_context(|| format!("attach program account to cgroup {}", root.display()))?;
        let link = FdLink::try_from(account.take_link(id)?).context("keep the link of program account")?;
        link.pin(pins.join(pins::ACCOUNT_LINK)).context("pin the link of program account")?;
    }

    let lookup: &mut SkLookup = program(object, pins::LOOKUP)?;
    repin(pins, pins::LOOKUP, |path| Ok(lookup.pin(path)?))?;
    let link = pins.join(pins::LOOKUP_LINK);
    if link.exists() {
        update_link(&link, lookup.fd()?.as_fd()).context("put program lookup on its link")?;
    } else {
        let id = lookup.attach(&netns.file).context("attach program lookup to the network namespace")?;
        let link = FdLink::from(lookup.take_link(id)?);
        link.pin(pins.join(pins::LOOKUP_LINK)).context("pin the link of program lookup")?;
    }
    Ok(())
}

/// Has the kernel check the programs at the same time. Returns why it would not have the one that registers, if so.
fn check(object: &mut Ebpf) -> anyhow::Result<Option<anyhow::Error>> {
    let load = |program: &mut Program| match program {
        Program::SchedClassifier(register) => register.load(),
        Program::SockOps(account) => account.load(),
        Program::SkLookup(lookup) => lookup.load(),
        _ => Ok(()),
    };
    let names = [pins::REGISTER, pins::ACCOUNT, pins::LOOKUP];
    thread::scope(|scope| {
        let programs = object.programs_mut().filter(|(name, _)| names.contains(name));
        let loads: Vec<_> =
            programs.map(|(name, program)| (name, scope.spawn(move || load(program)))).collect();
        let mut refused = None;
        for (name, load) in loads {
            let Ok(loaded) = load.join() else { bail!("the thread that loads program {name} ended early") };
            match loaded.with_context(|| format!("load program {name}")) {
                Err(error) if name == pins::REGISTER => refused = Some(error),
                other => other?,
            }
        }
        Ok(refused)
    })
}

/// Pins the program that registers listeners which are there, or the other one, for kernels that refuse it.
fn pin_register(object: &mut Ebpf, pins: &Path, refused: Option<anyhow::Error>) -> anyhow::Result<()> {
    let Some(refused) = refused else {
        let register: &mut SchedClassifier = program(object, pins::REGISTER)?;
        return repin(pins, pins::REGISTER, |path| Ok(register.pin(path)?));
    };
    let scan: &mut Iter = program(object, pins::SCAN)?;
    // The iterator's cause says more only where the other way is shut because the kernel is too new.
    let types = Btf::from_sys_fs().context("read the kernel's type information");
    if types.and_then(|types| Ok(scan.load("tcp", &types)?)).is_err() {
        return Err(refused);
    }
    repin(pins, pins::SCAN, |path| Ok(scan.pin(path)?))
}

/// A program of the object.
pub(super) fn program<'a, P>(object: &'a mut Ebpf, name: &str) -> anyhow::Result<&'a mut P>
where
    &'a mut P: TryFrom<&'a mut Program, Error: std::error::Error + Send + Sync + 'static>,
{
    let program = object.program_mut(name).with_context(|| format!("the object has no program {name}"))?;
    program.try_into().with_context(|| format!("program {name} is of another type"))
}

/// Draws the hash key, once for the life of the maps.
fn draw(netns: &Netns) -> anyhow::Result<Settings> {
    let mut key = [[0u8; 8]; 2];
    for half in &mut key {
        rustix::rand::getrandom(half, rustix::rand::GetRandomFlags::empty()).context("draw a hash key")?;
    }
    Ok(Settings {
        abi_version: ABI_VERSION,
        reserved: 0,
        netns_cookie: netns.cookie.unwrap_or(0),
        hash_key: key.map(u64::from_ne_bytes),
    })
}

/// Pins a program, in place of one that an interrupted load left.
pub(super) fn repin(
    pins: &Path,
    name: &str,
    pin: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let path = pins.join(name);
    if path.exists() {
        fs::remove_file(&path).with_context(|| format!("unpin the old program {name}"))?;
    }
    pin(&path).with_context(|| format!("pin program {name}"))
}
