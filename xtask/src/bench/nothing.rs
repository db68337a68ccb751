//! Programs that do nothing, on the hooks of wocut's: what the kernel counts for them is the counting itself.

use std::fs::{self, File};
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use aya::programs::{CgroupAttachMode, SkLookup, SockOps};
use aya::{Ebpf, EbpfLoader};
use object::Endianness;
use object::build::elf::{Builder, SectionData, SectionId};
use object::elf::{
    EM_BPF, ET_REL, SHF_ALLOC, SHF_EXECINSTR, SHT_PROGBITS, SHT_STRTAB, SHT_SYMTAB, STB_GLOBAL, STT_FUNC,
};

use super::place::Place;
use super::programs::{Counting, Runs};

/// `r0 = 1; exit`: the kernel goes on as if there were no program.
const GO_ON: [u8; 16] = [0xb7, 0, 0, 0, 1, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

/// Both at work. They go with the value.
pub(super) struct Nothing(Ebpf);

impl Nothing {
    /// In the servers' namespace of a place, and for every socket of the host.
    pub(super) fn on(place: &Place) -> Result<Self> {
        let object = object().context("write an object")?;
        let mut ebpf = EbpfLoader::new().load(&object).context("read an object that does nothing")?;
        let lookup: &mut SkLookup = ebpf.program_mut("lookup").context("find lookup")?.try_into()?;
        lookup.load().context("load a lookup that does nothing")?;
        let netns = format!("/run/netns/{}", place.lan.server);
        lookup.attach(File::open(&netns).with_context(|| format!("open {netns}"))?)?;
        let account: &mut SockOps = ebpf.program_mut("account").context("find account")?.try_into()?;
        account.load().context("load an account that does nothing")?;
        let root = cgroup_root()?;
        let cgroup = File::open(&root).with_context(|| format!("open {}", root.display()))?;
        account.attach(cgroup, CgroupAttachMode::Single)?;
        Ok(Self(ebpf))
    }

    /// What they have run until now.
    pub(super) fn runs(&self, counting: &Counting) -> Result<Vec<Runs>> {
        let loaded = self.0.programs().map(|(name, program)| Ok((name.to_owned(), program.fd()?)));
        loaded.map(|loaded: Result<_>| loaded.and_then(|(name, fd)| counting.of(name, fd))).collect()
    }
}

fn cgroup_root() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").context("read /proc/mounts")?;
    let mut mounts = mounts.lines().map(|line| line.split(' ').collect::<Vec<_>>());
    let cgroup2 = mounts.find(|mount| mount.get(2) == Some(&"cgroup2")).context("find cgroup2")?;
    Ok(cgroup2[1].into())
}

/// An object with one program for each hook.
fn object() -> Result<Vec<u8>> {
    let mut elf = Builder::new(Endianness::Little, true);
    (elf.header.e_type, elf.header.e_machine) = (ET_REL, EM_BPF);
    for (hook, name) in [("sk_lookup", "lookup"), ("sockops", "account")] {
        let code = elf.sections.add();
        code.name = hook.into();
        (code.sh_type, code.sh_flags, code.sh_addralign) =
            (SHT_PROGBITS, u64::from(SHF_ALLOC | SHF_EXECINSTR), 8);
        code.data = SectionData::Data(GO_ON.to_vec().into());
        let code = code.id();
        let program = elf.symbols.add();
        program.name = name.into();
        program.section = Some(code);
        program.st_info = STB_GLOBAL << 4 | STT_FUNC;
        program.st_size = GO_ON.len() as u64;
    }
    add(&mut elf, ".shstrtab", SHT_STRTAB, SectionData::SectionString);
    let names = add(&mut elf, ".strtab", SHT_STRTAB, SectionData::String);
    let symbols = add(&mut elf, ".symtab", SHT_SYMTAB, SectionData::Symbol);
    elf.sections.get_mut(symbols).sh_link_section = Some(names);
    let mut object = Vec::new();
    elf.write(&mut object)?;
    Ok(object)
}

fn add<'data>(elf: &mut Builder<'data>, name: &'data str, kind: u32, data: SectionData<'data>) -> SectionId {
    let section = elf.sections.add();
    section.name = name.into();
    (section.sh_type, section.sh_addralign, section.data) = (kind, 8, data);
    section.id()
}
