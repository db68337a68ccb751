//! A program that was started, and what it starts itself.

use std::{io, process::ExitStatus};

use anyhow::Context as _;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::Child;

use crate::{model::ProcessId, sys::pidfd::Pidfd};

/// A child that leads a process group.
#[derive(Debug)]
pub struct Program {
    child: Child,
    first: Pid,
    end: Pidfd,
}

impl Program {
    /// Of a child that nobody waited for yet. One whose end cannot be waited for is killed.
    pub fn of(mut child: Child, process: ProcessId) -> anyhow::Result<Self> {
        let open = || {
            let first =
                i32::try_from(process.pid).ok().and_then(Pid::from_raw).context("it has no number")?;
            Ok((first, Pidfd::open(first)?))
        };
        match open() {
            Ok((first, end)) => Ok(Self { child, first, end }),
            Err(error) => {
                let _killed = child.start_kill();
                Err(error)
            }
        }
    }

    /// Whether it has ended, and that was told.
    pub fn is_over(&self) -> bool {
        self.child.id().is_none()
    }

    /// Waits until it has ended, and kills what is left in its process group: a shell that is ended may leave what it
    /// started. Dropped too early, it can be asked again.
    pub async fn ended(&mut self) -> io::Result<ExitStatus> {
        self.end.ended().await?;
        // As long as nobody waited for the first of the group, its number is no other group's.
        if !self.is_over() && self.end.kill_group().is_err() {
            let _gone = kill_process_group(self.first, Signal::KILL);
        }
        self.child.wait().await
    }

    /// Sends it SIGKILL.
    pub fn kill(&mut self) {
        // It may have ended.
        let _gone = self.child.start_kill();
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Read as _, process::Stdio};

    use tokio::process::Command;

    use super::Program;
    use crate::sys::pidfd::identify;

    #[tokio::test]
    async fn what_a_shell_leaves_is_killed_with_it() {
        let (mut output, writer) = std::io::pipe().unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "sleep 60 & exit 3"]).stdout(Stdio::from(writer)).process_group(0);
        let child = command.spawn().unwrap();
        drop(command);
        let process = identify(child.id().unwrap()).unwrap();
        let mut program = Program::of(child, process).unwrap();
        assert_eq!(program.ended().await.unwrap().code(), Some(3));
        assert!(program.is_over());
        // It ends when nobody has the other end of the pipe any more.
        assert_eq!(output.read(&mut [0]).unwrap(), 0);
        assert_eq!(program.ended().await.unwrap().code(), Some(3));
    }
}
