//! A process that cannot be taken for another one: its end is something to wait for. Linux 5.3.

use std::{
    fs, io,
    os::fd::{AsRawFd as _, OwnedFd},
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, getpgid, kill_process_group, pidfd_open, pidfd_send_signal},
};
use tokio::io::{Interest, unix::AsyncFd};

use crate::model::ProcessId;

/// The process that has this number now, also when it has ended and is not reaped.
pub fn identify(pid: u32) -> Option<ProcessId> {
    look(pid).map(|(process, _)| process)
}

/// Whether that process has not ended.
pub fn lives(process: ProcessId) -> bool {
    look(process.pid).is_some_and(|(now, lives)| now == process && lives)
}

fn look(pid: u32) -> Option<(ProcessId, bool)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets, and may have any character.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?;
    let started = fields.nth(18)?.parse().ok()?;
    Some((ProcessId { pid, started }, !matches!(state, "Z" | "X")))
}

/// Sends a signal to that process, if it has not ended.
pub fn send(process: ProcessId, signal: Signal) -> io::Result<()> {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let sent = pidfd_open(pid, PidfdFlags::empty()).and_then(|opened| {
        // From here on the number is its own.
        if lives(process) { pidfd_send_signal(opened, signal) } else { Ok(()) }
    });
    match sent {
        Err(Errno::SRCH) => Ok(()),
        other => Ok(other?),
    }
}

/// Kills that process, if its number is its own still, and all that is in the process group that it leads.
pub fn kill_with_group(process: ProcessId) -> io::Result<()> {
    let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return Ok(()) };
    let killed = pidfd_open(pid, PidfdFlags::empty()).and_then(|opened| {
        // From here on the number is its own. One that has ended leads its group until it is waited for.
        if identify(process.pid) != Some(process) {
            return Ok(());
        }
        if kill_group(&opened).is_err() && getpgid(Some(pid)) == Ok(pid) {
            kill_process_group(pid, Signal::KILL)?;
        }
        pidfd_send_signal(opened, Signal::KILL)
    });
    match killed {
        Err(Errno::SRCH) => Ok(()),
        other => Ok(other?),
    }
}

fn kill_group(process: &OwnedFd) -> io::Result<()> {
    const PROCESS_GROUP: libc::c_uint = 1 << 2;
    let (number, nothing) = (libc::SYS_pidfd_send_signal, std::ptr::null::<libc::siginfo_t>());
    // SAFETY: it reads and writes no memory. As long as the descriptor is open, the group is no other one's.
    let sent = unsafe { libc::syscall(number, process.as_raw_fd(), libc::SIGKILL, nothing, PROCESS_GROUP) };
    if sent == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A process whose end can be waited for without reaping it.
#[derive(Debug)]
pub struct Pidfd(AsyncFd<OwnedFd>);

impl Pidfd {
    /// Of the process that has this number now. Needs a tokio runtime with I/O.
    pub fn open(process: Pid) -> io::Result<Self> {
        let descriptor = pidfd_open(process, PidfdFlags::empty())?;
        // SAFETY: an `OwnedFd` is open and the same as long as it is owned, which it is from here on.
        let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
        Ok(Self(registered.map_err(|error| error.into_parts().1)?))
    }

    /// Of that process; `None` if it has ended.
    pub fn of(process: ProcessId) -> io::Result<Option<Self>> {
        let Some(pid) = i32::try_from(process.pid).ok().and_then(Pid::from_raw) else { return Ok(None) };
        match Self::open(pid) {
            // From here on the number is its own.
            Ok(opened) => Ok(lives(process).then_some(opened)),
            Err(error) if Errno::from_io_error(&error) == Some(Errno::SRCH) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Kills what is left in the process group that it leads or led, if it does: a shell that is ended may leave what it
    /// started. Fails before Linux 6.9, and where nobody is left.
    pub fn kill_group(&self) -> io::Result<()> {
        kill_group(self.0.get_ref())
    }

    /// Waits until the process has ended.
    pub async fn ended(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        os::unix::process::CommandExt as _,
        process::{Command, Stdio},
    };

    use rustix::process::{Pid, Signal};

    use super::{Pidfd, ProcessId, identify, kill_with_group, lives, send};

    #[test]
    fn what_a_shell_has_started_goes_with_it() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 60 & echo; wait"]).stdout(Stdio::piped()).process_group(0);
        let mut shell = command.spawn().unwrap();
        let mut output = shell.stdout.take().unwrap();
        let process = identify(shell.id()).unwrap();
        output.read_exact(&mut [0]).unwrap();
        let earlier = ProcessId { started: process.started - 1, ..process };
        kill_with_group(earlier).unwrap();
        assert!(lives(process));
        kill_with_group(process).unwrap();
        // It ends when nobody has the other end of the pipe any more.
        assert_eq!(output.read(&mut [0]).unwrap(), 0);
        shell.wait().unwrap();
        kill_with_group(process).unwrap();
    }

    #[tokio::test]
    async fn process_of_the_same_number_is_another_one() {
        let mut child = Command::new("/bin/sleep").arg("60").spawn().unwrap();
        let process = identify(child.id()).unwrap();
        let earlier = ProcessId { started: process.started - 1, ..process };
        assert!(Pidfd::of(earlier).unwrap().is_none());
        let pidfd = Pidfd::of(process).unwrap().unwrap();
        send(process, Signal::KILL).unwrap();
        pidfd.ended().await.unwrap();
        assert!(identify(process.pid) == Some(process) && !lives(process));
        child.wait().unwrap();
        assert!(Pidfd::of(process).unwrap().is_none());
        send(process, Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn end_is_seen_before_it_is_reaped() {
        let mut child = Command::new("/bin/sh").args(["-c", "exit 3"]).spawn().unwrap();
        Pidfd::open(Pid::from_child(&child)).unwrap().ended().await.unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(3));
    }
}
