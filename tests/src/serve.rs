//! A running `wocut serve`.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::host::{Host, words};
use crate::must::{Must as _, check};
use crate::notifications::Notifications;
use crate::tool::output;
use crate::wait::{wait_for, wait_until};

/// A service as a file has it, on the engine of a test.
pub fn service(host: &Host, name: &str, keys: &str) -> String {
    format!("[service.{name}]\n{}{keys}\n", host.engine.keys())
}

/// The service of most tests.
pub fn web(host: &Host, instances: &str) -> String {
    service(host, "web", &format!("listen = [\"80/tcp\"]\ninstances = [{instances}]"))
}

/// What the API answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status; 0 if there was none.
    pub status: u16,
    /// What followed the header.
    pub body: String,
    /// The tag of the configuration, where there was one.
    pub etag: String,
}

impl Answer {
    /// Fails the test unless this was the status.
    #[track_caller]
    pub fn is(&self, status: u16) -> &Self {
        check(self.status == status, || format!("not {status}: {self:?}"));
        self
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).must("read the answer")
    }
}

/// Asks with curl, which is run by a prepared command.
#[track_caller]
pub fn curl(command: &mut Command, arguments: &[&str], method: &str, url: &str, body: &str) -> Answer {
    command.args(["-s", "-S", "-m", "30", "-o", "-", "-w", "\n%{http_code} %header{etag}", "--path-as-is"]);
    command.args(arguments).args(["-X", method]);
    if !body.is_empty() {
        command.args(["--data-binary", body]);
    }
    let text = String::from_utf8_lossy(&output(command.arg(url)).stdout).into_owned();
    let (body, end) = text.rsplit_once('\n').must("find the status");
    let (status, etag) = end.split_once(' ').must("find the status");
    Answer { status: status.parse().must("read the status"), body: body.into(), etag: etag.into() }
}

/// A daemon in the server's namespace, with a configuration and a log of its own; dropping it kills it.
#[derive(Debug)]
pub struct Serve {
    child: Option<Child>,
    folder: TempDir,
    /// What systemd would listen on.
    notifications: Notifications,
}

impl Serve {
    /// Starts it on a configuration, and waits until that is applied.
    pub fn start(host: &Host, config: &str, arguments: &str) -> Self {
        let folder = tempfile::tempdir().must("make a folder for wocut serve");
        fs::create_dir(folder.path().join("config")).must("make a folder for the configuration");
        let notifications = Notifications::listen(folder.path());
        let mut serve = Self { child: None, folder, notifications };
        serve.write(config);
        serve.again(host, arguments);
        serve
    }

    /// Starts it anew, after it has ended, and waits until it is at work.
    pub fn again(&mut self, host: &Host, arguments: &str) {
        let log = File::create(self.path("log")).must("make a log");
        let mut command = host.wocut_command(&[]);
        command.arg("serve").arg("--config").arg(self.path("config")).args(words(arguments));
        command.arg("--socket").arg(self.path("api.sock"));
        command
            .env("NOTIFY_SOCKET", self.notifications.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        self.notifications.forget();
        self.child = Some(command.spawn().must("start wocut serve"));
        wait_until("wocut serve is ready", Duration::from_secs(20), || {
            let ended =
                self.child.as_mut().is_some_and(|it| it.try_wait().must("look at wocut serve").is_some());
            check(!ended, || format!("wocut serve has ended: {}", self.log()));
            self.notifications.has("READY=1")
        });
    }

    /// A file of its own.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Replaces the configuration, without telling.
    pub fn write(&self, config: &str) {
        fs::write(self.path("config/all.toml"), config).must("write the configuration");
    }

    /// Tells it to read the configuration anew.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
    }

    /// Ends it, and gives the exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        self.signal(Signal::TERM);
        let child = self.child.as_mut().must("have a daemon");
        wait_for("wocut serve ends", Duration::from_secs(10), || child.try_wait().must("look at wocut serve"))
            .code()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Asks its API, by way of its socket.
    #[track_caller]
    pub fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let socket = self.path("api.sock");
        let place = ["--unix-socket", socket.to_str().must("name the socket")];
        curl(&mut Command::new("curl"), &place, method, &format!("http://localhost{path}"), body)
    }

    /// Everything that it logged since it was started.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).must("read the log")
    }

    /// Waits until a line of the log has this in it.
    #[track_caller]
    pub fn says(&self, text: &str) {
        self.says_within(text, Duration::from_secs(10));
    }

    /// The same, within a time.
    #[track_caller]
    pub fn says_within(&self, text: &str, limit: Duration) {
        wait_until(&format!("wocut serve says {text:?}"), limit, || self.log().contains(text));
    }

    /// Processor time that its threads took so far, from the scheduler: ticks would be counted where timers run.
    pub fn processor_time(&self) -> Duration {
        let child = self.child.as_ref().must("have a daemon");
        let threads =
            fs::read_dir(format!("/proc/{}/task", child.id())).must("list the daemon's threads").flatten();
        let times = threads.filter_map(|thread| {
            let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(times.sum())
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().must("have a daemon");
        kill_process(Pid::from_child(child), signal).must("send a signal to wocut serve");
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        if std::thread::panicking() {
            drop(std::io::Write::write_all(&mut std::io::stderr(), self.log().as_bytes()));
        }
        self.kill();
    }
}
