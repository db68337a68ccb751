//! Who runs a machine's instructions.

use std::fs::File;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Result;

use super::kernel::Kernel;
use super::memory::Memory;
use super::qemu::{self, Running};

/// Who runs a machine's instructions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Accel {
    /// The processor.
    Kvm,
    /// QEMU, in software.
    Tcg,
}

impl Accel {
    /// The fastest that works here.
    pub(crate) fn best() -> Result<Self> {
        Ok(if kvm_works()? { Self::Kvm } else { Self::Tcg })
    }

    /// QEMU's options for it.
    pub(crate) fn options(self, kernel: Kernel) -> [&'static str; 4] {
        match (self, kernel) {
            (Self::Kvm, _) => KVM,
            // SLUB of this kernel runs cmpxchg16b all the time, and QEMU 7.2 leaves rubbish in the flags after it: an
            // interrupt there is a double fault. Every third start ends so. Newer kernels cannot do without it.
            (Self::Tcg, Kernel::V6_12) => ["-accel", TCG, "-cpu", "max,-cx16"],
            (Self::Tcg, _) => ["-accel", TCG, "-cpu", "max"],
        }
    }
}

const KVM: [&str; 4] = ["-accel", "kvm", "-cpu", "host"];
/// One thread for all processors: with one each, QEMU 7.2 throws the translation of an instruction away before it writes
/// the new one. A processor that comes by in between keeps the old one for good, and where the kernel changes its own
/// code that is a breakpoint which nobody set: "Oops: int3". And room for the translations of all programs.
const TCG: &str = "tcg,thread=single,tb-size=512";

/// Where a processor starts, from the end of the firmware.
const RESET_VECTOR: usize = 16;
/// `mov al, 42; out 0xf4, al; hlt`
const FIRMWARE: [u8; 5] = [0xb0, 42, 0xe6, 0xf4, 0xf4];
/// How QEMU ends then: twice the number and one.
const ENDS_WITH: i32 = 85;

/// Whether a machine on KVM comes to its first instructions: in a machine that is virtual itself, `/dev/kvm` may be there
/// and run nothing.
fn kvm_works() -> Result<bool> {
    if File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return Ok(false);
    }
    let mut firmware = vec![0; 0x10000];
    let start = firmware.len() - RESET_VECTOR;
    firmware[start..start + FIRMWARE.len()].copy_from_slice(&FIRMWARE);
    let firmware = Memory::holding("firmware", &firmware)?;
    let mut qemu = qemu::command(KVM);
    qemu.args(["-device", "isa-debug-exit,iobase=0xf4", "-bios"]).arg(firmware.path());
    // What goes wrong is no news.
    qemu.stderr(Stdio::null());
    let ended = Running::start(&mut qemu)?.wait(Duration::from_secs(2))?;
    Ok(ended.is_some_and(|status| status.code() == Some(ENDS_WITH)))
}
