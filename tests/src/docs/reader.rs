//! A reader who types a page as it stands, and notes what is not as printed.

use std::mem;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::docs::output::{begins_like, is_like};
use crate::docs::page::{Command, Ends, Page, Step, Who};
use crate::docs::stage::Stage;
use crate::docs::terminal::{Ended, Terminal};
use crate::emulated::limit;

/// Clients that do something over and over at the same time.
const CLIENTS: u32 = 3;
/// So often, at least, before a loss could have been seen.
const LEAST: u64 = 20;
/// A database with a user.
const POSTGRESQL: &str = include_str!("postgresql.sh");
/// What the original wocut makes of a service on port 81, and a command to end it.
const ORIGINAL: &str = include_str!("original.sh");
/// Something that begins has to be there after so long.
const PATIENCE: Duration = Duration::from_secs(20);

/// Reads a page from beginning to end, and gives what is wrong with it.
pub fn read(page: &Page) -> Vec<String> {
    let mut reader = Reader::new();
    for (line, step) in &page.steps {
        if let Err(fault) = reader.step(step) {
            reader.faults.push(format!("{line}: {fault}"));
        }
    }
    if !reader.load.is_empty() {
        reader.faults.push("clients begin, and nobody asks whether they lost something".to_owned());
    }
    reader.faults
}

struct Reader {
    // Terminals end before the stage.
    root: Terminal,
    alice: Option<Terminal>,
    client: Terminal,
    running: Vec<Terminal>,
    load: Vec<Terminal>,
    faults: Vec<String>,
    stage: Stage,
}

impl Reader {
    fn new() -> Self {
        let stage = Stage::new();
        let (root, client) = (stage.terminal(Who::Root), stage.terminal(Who::Client));
        Self { root, alice: None, client, running: Vec::new(), load: Vec::new(), faults: Vec::new(), stage }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        match step {
            Step::File(path, text) => self.stage.write(path, text),
            Step::Check(text) => return self.check(text),
            Step::Command(command) if command.ends == Ends::ByItself => return self.command(command),
            Step::Command(command) => return self.runs_on(command),
            Step::Servers(ports) => return ports.iter().try_for_each(|port| self.server(*port)),
            Step::Given(what) => return self.given(what),
            Step::Until(command) => return self.until(command),
            Step::Load(command) => self.load(command),
            Step::NoLoss => return self.no_loss(),
        }
        Ok(())
    }

    /// Part of a service has one made around it.
    fn check(&mut self, text: &str) -> Result<(), String> {
        let part = !text.contains("[service.");
        let before = if part { "[service.part]\nlisten = [\"1/tcp\"]\ninstances = [8001]\n" } else { "" };
        self.stage.write(Path::new("/tmp/checked.toml"), &format!("{before}{text}"));
        succeed(&self.root.run("wocut check /tmp/checked.toml"))
    }

    fn command(&mut self, command: &Command) -> Result<(), String> {
        let stage = &self.stage;
        let terminal = match command.who {
            Who::Root => &mut self.root,
            Who::Alice => self.alice.get_or_insert_with(|| stage.terminal(Who::Alice)),
            Who::Client => &mut self.client,
        };
        let ended = terminal.run(&command.text);
        if ended.code.is_none() {
            // The shell is still at it.
            *terminal = stage.terminal(command.who);
            return Err(format!("does not end: {}\n{}", command.text, ended.lines.join("\n")));
        }
        if command.output.is_empty() {
            return succeed(&ended).map_err(|why| format!("{}: {why}", command.text));
        }
        let is_so = is_like(&command.output, &ended.lines, command.numbers_vary);
        is_so.then_some(()).ok_or_else(|| difference(command, &ended.lines))?;
        let may_fail = command
            .output
            .iter()
            .any(|line| line.to_lowercase().contains("error") || line.starts_with("curl: ("));
        if may_fail { Ok(()) } else { succeed(&ended).map_err(|why| format!("{}: {why}", command.text)) }
    }

    fn runs_on(&mut self, command: &Command) -> Result<(), String> {
        let mut terminal = self.stage.terminal(command.who);
        let process = terminal.become_command(&command.text).ok_or("it does not start")?;
        let (is_so, came) = terminal.printed(|came| begins_like(&command.output, came, command.numbers_vary));
        if command.ends == Ends::Interrupted {
            succeed(
                &self.root.run(&format!("kill -INT {process}; tail --pid={process} -s 0.02 -f /dev/null")),
            )?;
        } else {
            self.running.push(terminal);
        }
        is_so.then_some(()).ok_or_else(|| difference(command, &came))
    }

    fn server(&mut self, port: u16) -> Result<(), String> {
        let folder = format!("/tmp/{port}");
        let start = format!("python3 -m http.server --directory {folder} {port} > /dev/null 2>&1 &");
        succeed(&self.root.run(&format!("mkdir -p {folder}; echo {port} > {folder}/index.html; {start}")))?;
        self.until(&format!("ss -ltnH sport = :{port} | grep -q ."))
    }

    fn given(&mut self, what: &str) -> Result<(), String> {
        let command = match what {
            "PostgreSQL" => POSTGRESQL,
            "the original" => ORIGINAL,
            _ => what,
        };
        succeed(&self.root.run(command))
    }

    fn until(&mut self, command: &str) -> Result<(), String> {
        let start = Instant::now();
        loop {
            let ended = self.root.run(command);
            if ended.code == Some(0) {
                return Ok(());
            }
            if start.elapsed() > limit(PATIENCE) {
                return Err(format!("waited in vain: {command}\n{}", ended.lines.join("\n")));
            }
        }
    }

    fn load(&mut self, command: &str) {
        drop(self.root.run("rm -f /tmp/load-*"));
        let work = format!(
            "n=0; while [ ! -e /tmp/load-stop ]; do ({command}) > /tmp/load-$$ 2>&1 < /dev/null \
             || {{ echo failed after $n, at $EPOCHREALTIME:; cat /tmp/load-$$; }}; \
             n=$((n + 1)); echo $n > /tmp/load-count-$$; done"
        );
        let mut start = || {
            let mut terminal = self.stage.terminal(Who::Client);
            terminal.begin(&work);
            self.load.push(terminal);
        };
        (0..CLIENTS).for_each(|_| start());
        if let Err(why) = self.until(&has_done(LEAST)) {
            self.faults.push(why);
        }
    }

    fn no_loss(&mut self) -> Result<(), String> {
        if self.load.is_empty() {
            return Err("there are no clients that could have lost something".to_owned());
        }
        // As often again as it was done before.
        let count = self.root.run(&format!("{SUM}; echo $sum")).lines.join("").parse().unwrap_or(0);
        self.until(&has_done(count + LEAST))?;
        succeed(&self.root.run("touch /tmp/load-stop"))?;
        let lost: Vec<String> = mem::take(&mut self.load).into_iter().flat_map(Terminal::close).collect();
        if lost.is_empty() { Ok(()) } else { Err(format!("something was lost:\n{}", lost.join("\n"))) }
    }
}

/// How often clients have done their work.
const SUM: &str =
    "sum=0; for file in /tmp/load-count-*; do sum=$((sum + $(cat $file 2> /dev/null || echo 0))); done";

fn has_done(least: u64) -> String {
    format!("{SUM}; [ $sum -ge {least} ]")
}

fn succeed(ended: &Ended) -> Result<(), String> {
    if ended.code == Some(0) {
        Ok(())
    } else {
        Err(format!("exit {:?}:\n{}", ended.code, ended.lines.join("\n")))
    }
}

fn difference(command: &Command, came: &[String]) -> String {
    format!(
        "{}\nprinted in the page:\n{}\ncame:\n{}",
        command.text,
        command.output.join("\n"),
        came.join("\n")
    )
}
