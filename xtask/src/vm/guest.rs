//! What a machine is for: wocut, its tests, and the script that runs them.

use std::env;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::LEFT_OUT;
use super::cpio::Archive;
use super::system::copy;
use crate::command::quoted;
use crate::workspace::Workspace;

/// The first process.
const INIT: &str = include_str!("init.sh");

/// Where the programs are.
const PROGRAMS: &str = "/wocut/bin";

/// What is done in a machine.
pub(crate) struct Job {
    /// Files here, by their names among the programs there.
    programs: Vec<(OsString, PathBuf)>,
    script: String,
}

impl Job {
    /// Runs the integration tests with arguments of the test program.
    pub(crate) fn tests(tests: &Path, arguments: &[String]) -> Self {
        let words = ["it", "--test-threads=1"].into_iter().chain(arguments.iter().map(String::as_str));
        let words: Vec<_> = words.map(|word| quoted(word.as_ref())).collect();
        let mut job = Self::command(&format!("exec {}", words.join(" ")));
        job.add("it", tests);
        job
    }

    /// Runs a command of the shell.
    pub(crate) fn command(command: &str) -> Self {
        Self { programs: Vec::new(), script: format!("{command}\n") }
    }

    /// Takes a file along.
    pub(crate) fn add(&mut self, name: impl Into<OsString>, file: &Path) {
        self.programs.push((name.into(), file.to_owned()));
    }

    pub(crate) fn write(&self, workspace: &Workspace, archive: &mut Archive<impl Write>) -> Result<()> {
        // The kernel opens it for the first process.
        archive.device(Path::new("/dev/console"), (5, 1))?;
        archive.file(Path::new("/init"), 0o755, INIT.as_bytes())?;
        archive.file(Path::new("/wocut/run"), 0o644, self.run().as_bytes())?;
        for (name, file) in &self.programs {
            copy(archive, file, &Path::new(PROGRAMS).join(name))?;
        }
        copy(archive, &workspace.root.join("tests"), Path::new("/wocut/tests"))
    }

    /// The script, after the variables that a test looks at.
    fn run(&self) -> String {
        let given = crate::test::HANDED_ON.iter().filter(|name| **name != "PATH");
        let given = given.filter_map(|name| Some((*name, env::var(name).ok()?)));
        let own = [("WOCUT_TESTS_LEFT_OUT", LEFT_OUT.join(" ")), ("WOCUT_BIN", format!("{PROGRAMS}/wocut"))];
        let variables = given.chain(own);
        let exports = variables.map(|(name, value)| format!("export {name}={}\n", quoted(value.as_ref())));
        exports.collect::<String>() + &self.script
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::Job;

    #[test]
    fn tests_run_one_at_a_time_with_what_was_asked_for() {
        let arguments = ["fail over".to_owned(), "--skip=nft".to_owned()];
        let run = Job::tests(Path::new("/target/it-0123"), &arguments).run();
        assert!(run.ends_with(
            "export WOCUT_TESTS_LEFT_OUT='dpkg go node promtool systemd-analyze'\nexport WOCUT_BIN=/wocut/bin/wocut\nexec it --test-threads=1 'fail over' --skip=nft\n"
        ));
    }

    #[test]
    fn a_command_is_left_to_the_shell() {
        assert!(Job::command("wocut doctor; ls | wc").run().ends_with("\nwocut doctor; ls | wc\n"));
    }
}
