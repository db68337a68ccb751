//! A program that does not begin before it is written down who it is: whoever starts it may be killed at any moment.

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::{AsRawFd as _, BorrowedFd, OwnedFd, RawFd},
    thread,
};

use anyhow::{Context as _, anyhow};
use rustix::{
    io::{Errno, close, read, write},
    pipe::{PipeFlags, pipe_with},
    process::{Resource, Rlimit, getpid, setrlimit},
};
use tokio::process::{Child, Command};

use super::{descriptors, pidfd::identify};
use crate::model::ProcessId;

/// Starts a command whose program begins when `note` has returned, and never if that fails, or if this process is killed
/// before. `note` runs on another thread: the caller's waits in `fork(2)` for the child to begin.
pub fn spawn(
    command: &mut Command,
    note: impl FnOnce(ProcessId) -> anyhow::Result<()> + Send,
) -> anyhow::Result<(Child, ProcessId)> {
    let pipe = || pipe_with(PipeFlags::CLOEXEC).context("make a pipe");
    let ((told, tell), (wait, go)) = (pipe()?, pipe()?);
    let child = Held { tell: tell.as_raw_fd(), wait: wait.as_raw_fd(), go: go.as_raw_fd() };
    let limit = descriptors::given();
    let begin = move || {
        child.wait()?;
        let set = |limit: &Rlimit| setrlimit(Resource::Nofile, *limit);
        Ok(limit.as_ref().map_or(Ok(()), set)?)
    };
    // SAFETY: it allocates nothing and takes no lock: it makes system calls, four of them on descriptors that are open there.
    unsafe { command.pre_exec(begin) };
    let (spawned, noted) = thread::scope(|scope| {
        let noting = || let_go(told.into(), go, note);
        let noted = thread::Builder::new().spawn_scoped(scope, noting).context("start a thread")?;
        let spawned = command.spawn();
        // Where there was no child, nobody is left who could write.
        drop(tell);
        anyhow::Ok((spawned, noted.join()))
    })?;
    let noted = noted.unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
    Ok((spawned?, noted.context("it was not told who it is")?))
}

/// Hears who the child is, has it noted, and lets it begin. `None` is a child that there never was.
fn let_go(
    mut told: File,
    go: OwnedFd,
    note: impl FnOnce(ProcessId) -> anyhow::Result<()>,
) -> anyhow::Result<Option<ProcessId>> {
    let mut pid = [0; 4];
    if told.read_exact(&mut pid).is_err() {
        return Ok(None);
    }
    let pid = u32::from_ne_bytes(pid);
    // Nobody reaps it but this process, so its number is its own.
    let process = identify(pid).ok_or_else(|| anyhow!("process {pid} ended at once"))?;
    note(process)?;
    File::from(go).write_all(b".").context("let it begin")?;
    Ok(Some(process))
}

/// The child's ends, by number: it has copies of all descriptors.
#[derive(Clone, Copy)]
struct Held {
    tell: RawFd,
    wait: RawFd,
    go: RawFd,
}

impl Held {
    /// In the child: tells who it is, and waits.
    fn wait(self) -> io::Result<()> {
        // SAFETY: this is the child's copy, which nothing owns. As long as it is open, there is no end of file.
        unsafe { close(self.go) };
        // SAFETY: the parent keeps both open until the child has begun or is gone.
        let (tell, wait) = unsafe { (BorrowedFd::borrow_raw(self.tell), BorrowedFd::borrow_raw(self.wait)) };
        write(tell, &getpid().as_raw_nonzero().get().to_ne_bytes())?;
        let mut byte = [0];
        match read(wait, &mut byte)? {
            0 => Err(Errno::CANCELED.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use anyhow::bail;
    use tokio::process::Command;

    use super::spawn;

    /// A command that makes a file.
    fn touch(path: &std::path::Path) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", ": > \"$0\""]).arg(path);
        command
    }

    #[tokio::test]
    async fn program_begins_when_it_is_noted() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("begun");
        let mut noted = None;
        let note = |process| {
            // It would have had the time.
            std::thread::sleep(std::time::Duration::from_millis(50));
            assert!(!file.exists());
            noted = Some(process);
            Ok(())
        };
        let (mut child, process) = spawn(&mut touch(&file), note).unwrap();
        assert_eq!(noted, Some(process));
        assert_eq!(child.id(), Some(process.pid));
        assert!(child.wait().await.unwrap().success());
        assert!(file.exists());
    }

    #[tokio::test]
    async fn program_that_is_not_noted_never_begins() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("begun");
        let mut pid = 0;
        let note = |process: crate::model::ProcessId| {
            pid = process.pid;
            bail!("no room")
        };
        let error = spawn(&mut touch(&file), note).unwrap_err();
        assert_eq!(error.to_string(), "no room");
        assert!(!file.exists());
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }

    #[tokio::test]
    async fn program_that_is_not_there_is_an_error() {
        let error = spawn(&mut Command::new("/nowhere/at-all"), |_| Ok(())).unwrap_err();
        assert!(error.to_string().contains("No such file"), "{error}");
    }
}
