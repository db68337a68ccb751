//! One virtual machine, from its start to its end.

use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::memory::Memory;
use crate::command;

/// What the kernel is told.
const PARAMETERS: &str = "console=ttyS0 loglevel=4 panic=-1 mitigations=off";

/// A virtual machine.
pub(crate) struct Machine<'a> {
    /// QEMU's options for who runs it.
    pub(crate) accel: [&'static str; 4],
    /// The kernel's image.
    pub(crate) kernel: &'a Path,
    /// The archive with the system.
    pub(crate) system: &'a Memory,
}

impl Machine<'_> {
    /// Runs it to its end, with its first serial line on standard output. Its job has to succeed.
    pub(crate) fn run(&self, limit: Duration) -> Result<()> {
        let code = Memory::new("code")?;
        let mut qemu = command(self.accel);
        qemu.args(["-smp", "2", "-m", "2G", "-append", PARAMETERS, "-kernel"]).arg(self.kernel);
        qemu.arg("-initrd").arg(self.system.path());
        qemu.args(["-serial", "stdio", "-serial"]).arg(format!("file:{}", code.path().display()));
        command::show(&qemu);
        let ended = Running::start(&mut qemu)?.wait(limit)?;
        let Some(status) = ended else { bail!("it ran for {} minutes, and was ended", limit.as_secs() / 60) };
        ensure!(status.success(), "QEMU: {status}");
        judge(&code.read()?)
    }
}

/// Judges by what came on the second serial line.
fn judge(code: &str) -> Result<()> {
    match code.trim() {
        "0" => Ok(()),
        "" => bail!("the machine ended before its job did"),
        code => bail!("exit {code}"),
    }
}

/// QEMU, with nothing in the machine that is not asked for.
pub(crate) fn command(accel: [&str; 4]) -> Command {
    // Whatever ends this program ends the machine.
    let mut qemu = Command::new("setpriv");
    qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]).args(accel);
    qemu.args(["-machine", "q35", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"]);
    qemu
}

/// A process that is ended when this is dropped.
pub(crate) struct Running(Child);

impl Running {
    pub(crate) fn start(qemu: &mut Command) -> Result<Self> {
        Ok(Self(qemu.stdin(Stdio::null()).spawn().context("run QEMU")?))
    }

    /// Its end; nothing if it has not come by then.
    pub(crate) fn wait(mut self, limit: Duration) -> Result<Option<ExitStatus>> {
        let process = pidfd_open(Pid::from_child(&self.0), PidfdFlags::empty()).context("watch QEMU")?;
        let limit = Timespec::try_from(limit).context("set a limit")?;
        let mut ends = [PollFd::new(&process, PollFlags::IN)];
        let ended = retry_on_intr(|| poll(&mut ends, Some(&limit))).context("wait for QEMU")?;
        if ended == 0 {
            return Ok(None);
        }
        self.0.wait().map(Some).context("wait for QEMU")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail when it has ended.
        let _ended = self.0.kill();
        let _ended = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::judge;

    #[test]
    fn only_a_zero_is_success() {
        assert!(judge("0\n").is_ok());
        assert_eq!(judge("101\n").unwrap_err().to_string(), "exit 101");
        assert_eq!(judge("").unwrap_err().to_string(), "the machine ended before its job did");
    }
}
