//! Takes out of the eBPF object what neither aya nor the kernel reads: what they read of types and lines is in `.BTF` and
//! `.BTF.ext`.

use anyhow::{Context as _, Result};
use object::build::elf::{Builder, SectionData};
use object::elf::SHT_STRTAB;

/// DWARF, and the relocations of BTF, which only a linker would apply.
const DROPPED: [&[u8]; 3] = [b".debug_", b".rel.debug_", b".rel.BTF"];

/// The object without the sections for debuggers and linkers, and without the symbols that pointed into them.
pub(crate) fn for_loading(object: &[u8]) -> Result<Vec<u8>> {
    let mut elf = Builder::read(object).context("read the eBPF object")?;
    for section in &mut elf.sections {
        section.delete = DROPPED.iter().any(|prefix| section.name.starts_with(prefix));
    }
    elf.delete_orphans();
    // LLVM writes one table for the names of symbols and of sections; this writer wants two.
    if !elf.sections.iter().any(|section| matches!(section.data, SectionData::SectionString)) {
        let names = elf.sections.add();
        names.name = ".shstrtab".into();
        names.sh_type = SHT_STRTAB;
        names.sh_addralign = 1;
        names.data = SectionData::SectionString;
    }
    let mut stripped = Vec::new();
    elf.write(&mut stripped).context("write the eBPF object")?;
    Ok(stripped)
}

#[cfg(test)]
mod tests {
    use object::Endianness;
    use object::build::elf::{Builder, SectionData};
    use object::elf::{EM_BPF, ET_REL, SHT_PROGBITS, SHT_STRTAB};

    use super::for_loading;

    #[test]
    fn code_and_types_stay_and_debug_information_goes() {
        let mut elf = Builder::new(Endianness::Little, true);
        elf.header.e_type = ET_REL;
        elf.header.e_machine = EM_BPF;
        for name in ["sk_lookup", ".debug_info", ".BTF", ".rel.BTF.ext"] {
            let section = elf.sections.add();
            section.name = name.into();
            section.sh_type = SHT_PROGBITS;
            section.sh_addralign = 8;
            section.data = SectionData::Data(name.as_bytes().into());
        }
        let names = elf.sections.add();
        names.name = ".shstrtab".into();
        names.sh_type = SHT_STRTAB;
        names.data = SectionData::SectionString;
        let mut object = Vec::new();
        elf.write(&mut object).unwrap();

        let stripped = for_loading(&object).unwrap();
        let stripped = Builder::read(&*stripped).unwrap();
        let names: Vec<_> = stripped.sections.iter().map(|s| s.name.to_string()).collect();
        assert_eq!(names, ["sk_lookup", ".BTF", ".shstrtab"]);
    }
}
