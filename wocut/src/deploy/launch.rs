//! Starts a program on a port of its own, and waits until it serves.

use std::{
    env,
    ffi::{OsStr, OsString},
    os::unix::{ffi::OsStrExt as _, process::ExitStatusExt as _},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use rustix::process::Signal;
use tokio::{
    process::Command,
    sync::Notify,
    time::{Instant, sleep, timeout, timeout_at},
};

use super::{Program, listens::listens};
use crate::{
    health::{self, Target},
    model::{Check, InstanceSpec, Listen, ProcessId, Protocol},
    sys::{held, inherited, pidfd::send, program_file},
};

/// From a check that failed to the next one.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What is started, and when it serves.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program and its arguments: `{port}` in them is the port.
    pub command: Vec<OsString>,
    /// What it has to listen for.
    pub listen: Vec<Listen>,
    /// What it has to pass, once.
    pub check: Option<Check>,
    /// Whether it has to say itself that it is ready.
    pub notify_ready: bool,
    /// How long that may take.
    pub ready_timeout: Duration,
}

/// A program that was started.
#[derive(Debug)]
pub struct Started {
    /// It as a child.
    pub program: Program,
    /// It as a process.
    pub process: ProcessId,
    /// It as an instance, named by its port.
    pub spec: InstanceSpec,
    /// When it has to serve.
    due: Instant,
}

impl Started {
    /// Has it end, and returns its exit code.
    pub async fn end(&mut self, kill_after: Duration) -> u8 {
        // It may have ended.
        let _sent = send(self.process, Signal::TERM);
        if timeout(kill_after, self.program.ended()).await.is_err() {
            self.program.kill();
        }
        self.program.ended().await.map_or(1, code)
    }
}

/// Why a program did not come to serve.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// It has ended.
    #[error("it has ended by itself, with {0}")]
    Ended(ExitStatus),
    /// It has no socket.
    #[error("nobody listens on port {0} after {time}", time = humantime::format_duration(*.1))]
    NeverListened(u16, Duration),
    /// It has one, and is not well.
    #[error("its check failed for {time}: {0}", time = humantime::format_duration(*.1))]
    Unwell(String, Duration),
    /// It is well, and did not say that it is ready.
    #[error("it did not say READY=1 in {time}", time = humantime::format_duration(*.0))]
    Silent(Duration),
    /// It could not be looked at.
    #[error(transparent)]
    Unknown(#[from] anyhow::Error),
}

impl Launch {
    /// Fails where there is no such program, as [`start`](Self::start) would. Changes nothing.
    pub fn expect_program(&self) -> anyhow::Result<()> {
        let name = self.command.first().context("there is no command to start")?;
        program_file::find(name, env::var_os("PATH").as_deref())
            .with_context(|| format!("start {}", name.to_string_lossy()))
    }

    /// Starts it, in a process group of its own, so that what a terminal sends comes once. `adorn` adds to the command,
    /// and the program begins when `note` has written down who it is.
    pub fn start(
        &self,
        port: u16,
        adorn: impl FnOnce(&mut Command),
        note: impl FnOnce(ProcessId) -> anyhow::Result<()> + Send,
    ) -> anyhow::Result<Started> {
        let port = port.to_string();
        let spec = port.parse()?;
        let mut words = self.command.iter().map(|word| fill_in(word, &port));
        let program = words.next().context("there is no command to start")?;
        let mut command = Command::new(&program);
        command
            .args(words)
            .env("PORT", &port)
            .env_remove("NOTIFY_SOCKET")
            .stdin(Stdio::null())
            .process_group(0);
        adorn(&mut command);
        inherited::close_on_exec();
        let (child, process) = held::spawn(&mut command, note)
            .with_context(|| format!("start {}", program.to_string_lossy()))?;
        let due = Instant::now() + self.ready_timeout;
        let program = Program::of(child, process).context("wait for what was started")?;
        Ok(Started { program, process, spec, due })
    }

    /// Waits until it serves; `said` is told when it says that it is ready. Asked again, it goes on from there.
    pub async fn ready(&self, started: &mut Started, said: &Notify) -> Result<(), NotReady> {
        let Started { program, spec, due, .. } = started;
        tokio::select! {
            biased;
            ended = program.ended() => Err(match ended {
                Ok(status) => NotReady::Ended(status),
                Err(error) => NotReady::Unknown(error.into()),
            }),
            ready = self.serves(spec, *due, said) => ready,
        }
    }

    async fn serves(&self, spec: &InstanceSpec, end: Instant, said: &Notify) -> Result<(), NotReady> {
        let never = |_| NotReady::NeverListened(spec.port, self.ready_timeout);
        let takes = |protocol: &Protocol| self.listen.iter().any(|listen| listen.protocol == *protocol);
        let protocols = [Protocol::Tcp, Protocol::Udp].into_iter().filter(takes).collect::<Vec<_>>();
        let address = timeout_at(end, listens(&protocols, spec.port)).await.map_err(never)??;
        if let Some(check) = &self.check {
            self.passes(check, &Target::of(check, spec, Some(address)), end).await?;
        }
        // Last, because what was said is told once.
        if self.notify_ready {
            timeout_at(end, said.notified()).await.map_err(|_| NotReady::Silent(self.ready_timeout))?;
        }
        Ok(())
    }

    async fn passes(&self, check: &Check, target: &Target, end: Instant) -> Result<(), NotReady> {
        let mut failed = String::from("it was not asked");
        loop {
            match timeout_at(end, health::ask(check, target)).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(failure)) => failed = failure.to_string(),
                Err(_) => {}
            }
            if timeout_at(end, sleep(ASK_AGAIN)).await.is_err() {
                return Err(NotReady::Unwell(failed, self.ready_timeout));
            }
        }
    }
}

/// The word with the port in the place of each `{port}`.
fn fill_in(word: &OsStr, port: &str) -> OsString {
    const PLACE: &[u8] = b"{port}";
    let (mut filled, mut rest) = (Vec::new(), word.as_bytes());
    while let Some(at) = rest.windows(PLACE.len()).position(|window| window == PLACE) {
        filled.extend_from_slice(&rest[..at]);
        filled.extend_from_slice(port.as_bytes());
        rest = &rest[at + PLACE.len()..];
    }
    filled.extend_from_slice(rest);
    OsStr::from_bytes(&filled).to_owned()
}

/// The exit code that a shell gives for it.
pub fn code(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, time::Duration};

    use tokio::sync::Notify;

    use super::{Launch, NotReady, code, fill_in};

    fn launch(script: &str) -> Launch {
        Launch {
            command: ["/bin/sh", "-c", script, "sh", "{port}"].map(OsString::from).into(),
            listen: vec!["80/tcp".parse().unwrap()],
            check: None,
            notify_ready: false,
            ready_timeout: Duration::from_millis(300),
        }
    }

    async fn outcome(script: &str) -> NotReady {
        let launch = launch(script);
        let mut started = launch.start(9, |_| {}, |_| Ok(())).unwrap();
        let outcome = launch.ready(&mut started, &Notify::new()).await.unwrap_err();
        started.end(Duration::ZERO).await;
        outcome
    }

    #[test]
    fn port_is_put_in_its_place() {
        assert_eq!(fill_in("a{port}:{port}".as_ref(), "80"), "a80:80");
        assert_eq!(fill_in("{por{port}".as_ref(), "80"), "{por80");
    }

    #[tokio::test]
    async fn program_that_does_not_come_to_serve_is_told_apart() {
        assert!(matches!(outcome("exit 3").await, NotReady::Ended(status) if code(status) == 3));
        assert!(matches!(outcome("kill -9 $$").await, NotReady::Ended(status) if code(status) == 137));
        assert!(matches!(outcome("exec sleep 60").await, NotReady::NeverListened(..)));
        // Its port, as an argument and in its environment.
        assert!(
            matches!(outcome("[ $1 = $PORT ] && exit 7").await, NotReady::Ended(status) if code(status) == 7)
        );
    }

    #[tokio::test]
    async fn program_that_cannot_be_started_is_named() {
        let mut launch = launch("");
        launch.command = vec!["/nowhere/at-all".into()];
        let error = launch.start(9, |_| {}, |_| Ok(())).unwrap_err();
        assert!(format!("{error:#}").contains("start /nowhere/at-all: No such file"), "{error:#}");
    }
}
