//! Whether a program ends with 0.

use std::{io, os::unix::process::ExitStatusExt as _, process::Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::{Failure, Target};
use crate::{
    model::Program,
    sys::{inherited, pidfd::Pidfd},
};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(super) async fn ask(program: &Program, target: &Target) -> Result<(), Failure> {
    inherited::close_on_exec();
    // Dropped too early, it is reaped by the runtime.
    let mut child = command(program, target).kill_on_drop(true).spawn().map_err(Failure::of_start)?;
    let group = Group::of(&child).map_err(Failure::Unasked)?;
    group.end.ended().await.map_err(Failure::Unasked)?;
    // As long as nobody waited for the first of the group, its number is no other group's.
    drop(group);
    let status = child.wait().await.map_err(Failure::Unasked)?;
    match (status.code(), status.signal()) {
        (Some(0), _) => Ok(()),
        (Some(code), _) => Err(Failure::Exit(code)),
        (None, signal) => Err(Failure::Signal(signal.unwrap_or_default())),
    }
}

fn command(program: &Program, target: &Target) -> Command {
    let mut command = Command::new(program.path());
    command
        .args(program.arguments())
        .env_clear()
        .env("PATH", PATH)
        .env("WOCUT_INSTANCE", target.instance.as_str())
        .env("WOCUT_ADDRESS", target.address.to_string())
        .env("WOCUT_PORT", target.port.to_string())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    command
}

/// A program and what it has started. All of it is killed when this is dropped.
struct Group {
    first: Pid,
    end: Pidfd,
}

impl Group {
    fn of(child: &Child) -> io::Result<Self> {
        let number = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let first = number.ok_or_else(|| io::Error::other("the program has no number"))?;
        Ok(Self { first, end: Pidfd::open(first)? })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // There is always its first, if only as a zombie; one that is in no group any more cannot be helped.
        let _gone = kill_process_group(self.first, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use std::{path::Path, time::Duration};

    use rustix::{
        fs::{CWD, FileType, Mode, mknodat},
        io::Errno,
        process::{Pid, WaitId, WaitIdOptions, waitid},
    };
    use tokio::{
        io::{AsyncBufReadExt as _, BufReader},
        net::unix::pipe,
        time::timeout,
    };

    use super::super::{Failure, Target, ask, patient};
    use crate::{
        model::{Check, CheckKind},
        sys::pidfd::Pidfd,
    };

    fn target() -> Target {
        Target::at(([127, 0, 0, 1], 8001).into())
    }

    fn check(words: &[&str]) -> Check {
        let words: Vec<String> = words.iter().map(ToString::to_string).collect();
        patient(CheckKind::Exec { command: words.try_into().unwrap() })
    }

    async fn said(words: &[&str]) -> String {
        ask(&check(words), &target()).await.map_or_else(|failure| failure.to_string(), |()| "good".into())
    }

    #[tokio::test]
    async fn exit_code_decides() {
        assert_eq!(said(&["/bin/sh", "-c", "exit 0"]).await, "good");
        assert_eq!(said(&["/bin/sh", "-c", "exit 3"]).await, "exited with 3");
        assert_eq!(said(&["/bin/sh", "-c", "kill -11 $$"]).await, "killed by signal 11");
        let missing = said(&["/nonexistent/check"]).await;
        assert!(missing.starts_with("cannot start the program: No such file"), "{missing}");
    }

    #[tokio::test]
    async fn program_knows_whom_to_ask_and_nothing_else() {
        let script = "test \"$1\" = 'a  b' && test \"$WOCUT_INSTANCE $WOCUT_ADDRESS $WOCUT_PORT\" = 'a 127.0.0.1 8001' \
            && test \"$(env | grep -vc '^PATH=\\|^WOCUT_\\|^PWD=\\|^SHLVL=\\|^_=')\" = 0 \
            && ! read line && test \"$(pwd)\" = /";
        assert_eq!(said(&["/bin/sh", "-c", script, "check", "a  b"]).await, "good");
    }

    /// Numbers that a script writes down.
    struct Numbers(BufReader<pipe::Receiver>);

    impl Numbers {
        fn of(path: &Path) -> Self {
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
            Self(BufReader::new(pipe::OpenOptions::new().read_write(true).open_receiver(path).unwrap()))
        }

        async fn next(&mut self) -> Pid {
            let mut line = String::new();
            self.0.read_line(&mut line).await.unwrap();
            Pid::from_raw(line.trim().parse().unwrap()).unwrap()
        }
    }

    async fn ended(process: Pid) {
        match Pidfd::open(process) {
            Ok(end) => timeout(Duration::from_secs(20), end.ended()).await.unwrap().unwrap(),
            Err(error) => assert_eq!(error.raw_os_error(), Some(Errno::SRCH.raw_os_error())),
        }
    }

    #[tokio::test]
    async fn what_it_started_is_killed_when_it_takes_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("numbers");
        let mut numbers = Numbers::of(&fifo);
        let script = "echo $$ > \"$1\"; sleep 1000 & echo $! > \"$1\"; wait";
        let check = check(&["/bin/sh", "-c", script, "check", fifo.to_str().unwrap()]);
        let target = target();
        // What the timeout does, and no earlier than the script is ready for it.
        let (first, second) = tokio::select! {
            outcome = ask(&check, &target) => panic!("{outcome:?}"),
            numbers = async { (numbers.next().await, numbers.next().await) } => numbers,
        };
        ended(first).await;
        ended(second).await;
        let reaped = async {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            while waitid(WaitId::Pid(first), options).err() != Some(Errno::CHILD) {
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_secs(20), reaped).await.unwrap();
    }

    #[tokio::test]
    async fn what_it_leaves_behind_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let fifo = folder.path().join("numbers");
        let mut numbers = Numbers::of(&fifo);
        let script = "sleep 1000 & echo $! > \"$1\"";
        let check = check(&["/bin/sh", "-c", script, "check", fifo.to_str().unwrap()]);
        ask(&check, &target()).await.unwrap();
        ended(numbers.next().await).await;
    }

    #[tokio::test]
    async fn timeout_covers_the_program() {
        let check = Check { timeout: "20ms".parse().unwrap(), ..check(&["/bin/sleep", "1000"]) };
        let failure = ask(&check, &target()).await.unwrap_err();
        assert!(matches!(failure, Failure::Timeout(_)), "{failure}");
    }
}
