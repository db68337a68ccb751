//! What a test needs of the host, and what happens where it is missing.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs, io};

use aya::util::KernelVersion;

use crate::engine::Engine;
use crate::must::{Must as _, fail};
use crate::netns::Netns;
use crate::tool::{output, which};

/// Something the host may lack.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Missing {
    /// What can be installed, or switched on.
    Here(String),
    /// What came with a later Linux than the one that runs: no fault of the host's.
    TooOld(String),
    /// What whoever made this machine left out of it on purpose, and said so.
    LeftOut(String),
}

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
    if env::var("WOCUT_TESTS_LEFT_OUT").is_ok_and(|words| words.split(' ').any(|word| word == program)) {
        return Err(Missing::LeftOut(program.to_owned()));
    }
    let missing = || format!("the program {program}: xtask/src/test.rs lists those that are installed");
    which(program).map(|_| ()).ok_or_else(|| Missing::Here(missing()))
}

/// Needs the package of wocut, and what installs it. Gives its path.
pub fn package() -> Result<PathBuf, Missing> {
    tool("dpkg")?;
    let given = env::var_os("WOCUT_DEB");
    given.map(PathBuf::from).ok_or_else(|| Missing::Here("a package of wocut in WOCUT_DEB".to_owned()))
}

/// Needs the archive that an image for containers is built of, and what builds and runs one. Gives its folder.
pub fn context() -> Result<PathBuf, Missing> {
    tool("buildah")?;
    tool("crun")?;
    let given = env::var_os("WOCUT_CONTEXT");
    given.map(PathBuf::from).ok_or_else(|| Missing::Here("wocut's archive in WOCUT_CONTEXT".to_owned()))
}

/// Needs MPTCP in the kernel. Debian's have it from 6.1 on.
pub fn mptcp() -> Result<(), Missing> {
    since(6, 1, "MPTCP in Debian's kernel")?;
    let enabled = fs::read_to_string("/proc/sys/net/mptcp/enabled");
    let on = enabled.is_ok_and(|text| text.trim() == "1");
    on.then_some(()).ok_or_else(|| Missing::Here("MPTCP in the kernel".to_owned()))
}

/// Needs a Linux of that version for something.
fn since(major: u8, minor: u8, what: &str) -> Result<(), Missing> {
    let version = KernelVersion::current().must("read the kernel's version");
    if version < KernelVersion::new(major, minor, 0) {
        return Err(Missing::TooOld(format!("{what} (Linux {major}.{minor})")));
    }
    Ok(())
}

/// Needs programs on interfaces that are held by links.
pub fn tcx() -> Result<(), Missing> {
    since(6, 6, "tcx")
}

/// Needs a kernel that gives packets whose port address translation has changed to no other connection on the way
/// (`nf_nat_inet_port_was_mangled`), where rules translate.
pub fn mangled_ports(engine: Engine) -> Result<(), Missing> {
    if engine.is_ebpf() { Ok(()) } else { since(5, 14, "two translated connections of one client port") }
}

/// Needs a kernel that hands packets to listeners with `SO_REUSEPORT`, where the engine does that.
pub fn reuseport(engine: Engine) -> Result<(), Missing> {
    if engine == Engine::Tc { since(6, 6, "SO_REUSEPORT on the tc hook") } else { Ok(()) }
}

/// Needs a kernel in which a SYN cookie makes one connection, whatever comes at the same time.
pub fn one_connection_a_cookie() -> Result<(), Missing> {
    since(5, 11, "one connection for each SYN cookie")
}

/// Says what is missing: a failure in CI, where everything has to be there that can be, and a line on stderr elsewhere.
pub fn skip(missing: &Missing) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let is_ci = env::var("CI").is_ok_and(|ci| ci == "true");
    let what = match missing {
        Missing::Here(what) if is_ci => fail(&format!("CI lacks {what}")),
        Missing::Here(what) => format!("this host lacks {what}"),
        Missing::TooOld(what) => format!("this kernel is too old for {what}"),
        Missing::LeftOut(what) => format!("this machine was made without {what}"),
    };
    // Not `eprintln!`: the test runner would keep it from the user.
    drop(writeln!(io::stderr(), "skipped {test}: {what}"));
}

/// Needs a kernel with tunnel devices; makes the file for them, where it is missing.
pub fn tunnels() -> Result<(), Missing> {
    const FILE: &str = "/dev/net/tun";
    if !fs::exists(FILE).unwrap_or_default() {
        drop(fs::create_dir_all("/dev/net"));
        drop(output(Command::new("mknod").args([FILE, "c", "10", "200"])));
    }
    let opened = fs::File::options().read(true).write(true).open(FILE);
    opened.map(drop).map_err(|error| Missing::Here(format!("{FILE}: {error}")))
}

/// Needs a kernel with bridges.
pub fn bridges() -> Result<(), Missing> {
    let netns = Netns::new("need");
    let made = output(netns.command("ip").args(["link", "add", "bridge", "type", "bridge"]));
    made.status.success().then_some(()).ok_or_else(|| Missing::Here("bridges in the kernel".to_owned()))
}

/// Needs Go. Gives its version: 22 for Go 1.22.
pub fn go() -> Result<u32, Missing> {
    tool("go")?;
    let version = output(Command::new("go").args(["env", "GOVERSION"]));
    let text = String::from_utf8_lossy(&version.stdout).into_owned();
    let minor = text.trim().strip_prefix("go1.").and_then(|rest| rest.split('.').next()?.parse().ok());
    minor.ok_or_else(|| Missing::Here(format!("Go 1, but has {text:?}")))
}
