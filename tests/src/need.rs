//! What a test needs of the host, and what happens where it is missing.

use std::io::Write as _;
use std::process::Command;
use std::{env, fs, io};

use aya::util::KernelVersion;

use crate::engine::Engine;
use crate::must::{Must as _, fail};
use crate::netns::Netns;
use crate::tool::{output, which};

/// Something the host may lack.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Missing(pub String);

/// Goes on when nothing is missing; otherwise fails in CI, and elsewhere prints what is missing and leaves the test.
#[macro_export]
macro_rules! need {
    ($need:expr) => {
        if let Err(missing) = $need {
            $crate::need::skip(&missing);
            return;
        }
    };
}

/// Needs a program in `PATH`.
pub fn tool(program: &str) -> Result<(), Missing> {
    which(program).map(|_| ()).ok_or_else(|| Missing(format!("the program {program}")))
}

/// Needs MPTCP in the kernel.
pub fn mptcp() -> Result<(), Missing> {
    let enabled = fs::read_to_string("/proc/sys/net/mptcp/enabled");
    let on = enabled.is_ok_and(|text| text.trim() == "1");
    on.then_some(()).ok_or_else(|| Missing("MPTCP in the kernel".to_owned()))
}

/// Needs a kernel that hands packets to listeners with `SO_REUSEPORT`, where the engine does that: Linux 6.6.
pub fn reuseport(engine: Engine) -> Result<(), Missing> {
    let version = KernelVersion::current().must("read the kernel's version");
    if engine == Engine::Tc && version < KernelVersion::new(6, 6, 0) {
        return Err(Missing("SO_REUSEPORT on the tc hook (Linux 6.6)".to_owned()));
    }
    Ok(())
}

/// Says what is missing: a failure in CI, where everything has to be there, and a line on stderr elsewhere.
pub fn skip(missing: &Missing) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    if env::var("CI").is_ok_and(|ci| ci == "true") {
        fail(&format!("CI lacks {}", missing.0));
    }
    // Not `eprintln!`: the test runner would keep it from the user.
    drop(writeln!(io::stderr(), "skipped {test}: this host lacks {}", missing.0));
}

/// Needs a kernel with tunnel devices; makes the file for them, where it is missing.
pub fn tunnels() -> Result<(), Missing> {
    const FILE: &str = "/dev/net/tun";
    if !fs::exists(FILE).unwrap_or_default() {
        drop(fs::create_dir_all("/dev/net"));
        drop(output(Command::new("mknod").args([FILE, "c", "10", "200"])));
    }
    let opened = fs::File::options().read(true).write(true).open(FILE);
    opened.map(drop).map_err(|error| Missing(format!("{FILE}: {error}")))
}

/// Needs a kernel with bridges.
pub fn bridges() -> Result<(), Missing> {
    let netns = Netns::new("need");
    let made = output(netns.command("ip").args(["link", "add", "bridge", "type", "bridge"]));
    made.status.success().then_some(()).ok_or_else(|| Missing("bridges in the kernel".to_owned()))
}

/// Needs Go. Gives its version: 22 for Go 1.22.
pub fn go() -> Result<u32, Missing> {
    tool("go")?;
    let version = output(Command::new("go").args(["env", "GOVERSION"]));
    let text = String::from_utf8_lossy(&version.stdout).into_owned();
    let minor = text.trim().strip_prefix("go1.").and_then(|rest| rest.split('.').next()?.parse().ok());
    minor.ok_or_else(|| Missing(format!("Go 1, but has {text:?}")))
}
