//! Attaches the programs that look at packets to every interface, while a service needs them.
//!
//! From Linux 6.6 on each has a link, pinned like the others; before, a filter of a fixed place in the interface's
//! `clsact` qdisc. An interface that comes later is attached to by the next change.

use std::{
    collections::BTreeSet,
    fs,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use aya::programs::{
    SchedClassifier, TcAttachType,
    links::{FdLink, LinkOrder},
    tc::{NlOptions, SchedClassifierLink, TcAttachOptions, TcHandle, qdisc_add_clsact},
};
use wocut_common::maps;

use super::{load, pins};
use crate::sys::{
    bpf::{detach_link, target_of_link, update_link},
    netns::{Netns, current_inode},
    rtnetlink::{self, Direction, Interface},
};

/// One direction, by the name of its program.
struct Side {
    program: &'static str,
    direction: TcAttachType,
}

/// Replies first: no datagram is given to an instance before its answer finds its way back.
const SIDES: [Side; 2] = [
    Side { program: "wocut_egress", direction: TcAttachType::Egress },
    Side { program: "wocut_ingress", direction: TcAttachType::Ingress },
];

/// Where our filter is on kernels without links: after those of others, which mostly count from 1 up or 49152 down.
const PRIORITY: u16 = 49_500;
const HANDLE: TcHandle = TcHandle::new(0, 1);

/// Their names.
pub(super) fn programs() -> impl Iterator<Item = &'static str> {
    SIDES.iter().map(|side| side.program)
}

/// Whether they are loaded.
pub(super) fn is_loaded(pins: &Path) -> bool {
    programs().chain([maps::FLOWS]).all(|name| pins.join(name).exists())
}

/// Loads what is not loaded, and attaches it to the interfaces where it is not attached. `anew` puts new programs in
/// the place of those that are loaded. Returns warnings.
pub(super) fn attach(pins: &Path, netns: &Netns, anew: bool) -> anyhow::Result<Vec<String>> {
    let fresh = anew || !is_loaded(pins);
    if fresh {
        for side in &SIDES {
            for (link, _) in links(pins, side.program)? {
                pins::expect_ours(&link, &pins.join(side.program))?;
            }
        }
        load(pins, netns)?;
    }
    let interfaces = rtnetlink::interfaces().context("list network interfaces")?;
    let mut warnings = Vec::new();
    for side in &SIDES {
        let mut program = SchedClassifier::from_pin(pins.join(side.program))
            .with_context(|| format!("open program {}", side.program))?;
        for (pin, index) in links(pins, side.program)? {
            // It is gone, or in another namespace now.
            let is_here = interfaces.iter().any(|interface| interface.index == index);
            if !is_here || target_of_link(&pin).ok() != Some(index) {
                forget(&pin)?;
            }
        }
        for interface in &interfaces {
            let attached = side.attach(pins, &mut program, interface, fresh);
            if let Err(error) = attached {
                // It may have gone in the meantime.
                if rtnetlink::interfaces().is_ok_and(|now| now.contains(interface)) {
                    let name = &interface.name;
                    warnings.push(format!("{name} is not served: {}", crate::error::one_line(&error)));
                }
            }
        }
    }
    Ok(warnings)
}

/// The interfaces that a program is not on, a line each.
pub(super) fn bare(pins: &Path) -> anyhow::Result<Vec<String>> {
    let mut found = Vec::new();
    for side in &SIDES {
        let links = links(pins, side.program)?;
        let is_live = |(pin, index): &&(PathBuf, u32)| target_of_link(pin).ok() == Some(*index);
        let linked: BTreeSet<u32> = links.iter().filter(is_live).map(|(_, index)| *index).collect();
        for interface in rtnetlink::interfaces().context("list network interfaces")? {
            if !linked.contains(&interface.index) && !side.has_filter(&interface)? {
                found.push(format!("{} is not on {}", side.program, interface.name));
            }
        }
    }
    Ok(found)
}

/// Loads both programs, in place of those that may be there.
fn load(pins: &Path, netns: &Netns) -> anyhow::Result<()> {
    let mut object = load::object(pins, netns, true)?;
    for side in &SIDES {
        let name = side.program;
        let program: &mut SchedClassifier = load::program(&mut object, name)?;
        program.load().with_context(|| format!("load program {name}"))?;
        load::repin(pins, name, |path| Ok(program.pin(path)?))?;
    }
    Ok(())
}

impl Side {
    fn attach(
        &self,
        pins: &Path,
        program: &mut SchedClassifier,
        interface: &Interface,
        fresh: bool,
    ) -> anyhow::Result<()> {
        let pin = pins.join(format!("{}_{}", self.program, interface.index));
        if pin.exists() {
            if fresh {
                update_link(&pin, program.fd()?.as_fd()).context("put the program on its link")?;
            }
            return Ok(());
        }
        let options = TcAttachOptions::TcxOrder(LinkOrder::default());
        if let Ok(id) = program.attach_with_options(&interface.name, self.direction, options) {
            let link = FdLink::try_from(program.take_link(id)?).context("keep the link")?;
            link.pin(&pin).context("pin the link")?;
            return Ok(());
        }
        self.attach_filter(program, interface, fresh)
    }

    /// Before Linux 6.6.
    fn attach_filter(
        &self,
        program: &mut SchedClassifier,
        interface: &Interface,
        fresh: bool,
    ) -> anyhow::Result<()> {
        // It is there, mostly; if not, the next step says so.
        let _there = qdisc_add_clsact(&interface.name);
        let options = NlOptions { priority: PRIORITY, handle: HANDLE, classid: None };
        let attached =
            program.attach_with_options(&interface.name, self.direction, TcAttachOptions::Netlink(options));
        let id = match attached {
            Ok(id) => id,
            Err(error) if !is_there(&error) => return Err(error).context("attach a filter"),
            Err(_) if !fresh => return Ok(()),
            Err(_) => program.attach_to_link(self.filter(interface)?).context("replace the filter")?,
        };
        // A filter stays by itself; what aya takes for its owner would take it away.
        std::mem::forget(program.take_link(id)?);
        Ok(())
    }

    fn has_filter(&self, interface: &Interface) -> anyhow::Result<bool> {
        let direction = match self.direction {
            TcAttachType::Egress => Direction::Egress,
            _ => Direction::Ingress,
        };
        let context = || format!("list the filters of {}", interface.name);
        let filters = rtnetlink::filters(interface.index, direction).with_context(context)?;
        Ok(filters.iter().any(|filter| filter.name.as_deref() == Some(self.program)))
    }

    /// The filter that is there. Dropped, it takes the filter away.
    fn filter(&self, interface: &Interface) -> std::io::Result<SchedClassifierLink> {
        SchedClassifierLink::attached(&interface.name, self.direction, PRIORITY, HANDLE, None)
    }
}

fn is_there(error: &aya::programs::ProgramError) -> bool {
    use aya::programs::{ProgramError, tc::TcError};
    matches!(error, ProgramError::TcError(TcError::NetlinkError(error)) if error.raw_os_error() == Some(libc::EEXIST))
}

/// Takes the programs off every interface, and forgets all flows.
pub(super) fn detach(pins: &Path) -> anyhow::Result<()> {
    for side in SIDES.iter().rev() {
        let links = links(pins, side.program)?;
        for (pin, _) in &links {
            forget(pin)?;
        }
        let program = pins.join(side.program);
        if !program.exists() {
            continue;
        }
        // Where there are links there are no filters; what is left of a namespace that is gone has no interfaces.
        if links.is_empty()
            && pins.file_name().is_some_and(|name| name.to_str() == current_inode().ok().as_deref())
        {
            for interface in rtnetlink::interfaces().context("list network interfaces")? {
                // Most kernels have links instead, and no filter.
                drop(side.filter(&interface));
            }
        }
        fs::remove_file(&program).with_context(|| format!("unpin program {}", side.program))?;
    }
    let flows = pins.join(maps::FLOWS);
    if flows.exists() {
        fs::remove_file(&flows).context("unpin map flows")?;
    }
    Ok(())
}

fn forget(pin: &Path) -> anyhow::Result<()> {
    // That of an interface that is gone is off already.
    let _gone = detach_link(pin);
    fs::remove_file(pin).with_context(|| format!("unpin {}", pin.display()))
}

/// The pinned links of a program, each with the index of its interface.
fn links(pins: &Path, program: &str) -> anyhow::Result<Vec<(PathBuf, u32)>> {
    let entries = match fs::read_dir(pins) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.with_context(|| format!("list {}", pins.display()))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.with_context(|| format!("list {}", pins.display()))?;
        let name = entry.file_name();
        let index =
            name.to_str().and_then(|name| name.strip_prefix(program)?.strip_prefix('_')?.parse().ok());
        found.extend(index.map(|index| (entry.path(), index)));
    }
    Ok(found)
}
