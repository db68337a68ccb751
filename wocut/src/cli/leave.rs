//! `--wait` and `--kill`: what `drain`, `remove` and `detach` do about open connections.
//!
//! First the instances get no new connections, which is one change. Then connections end, or are ended, and no lock is
//! held. Then comes the rest of the command. Whatever stops it in the middle leaves drained instances, and the same
//! command goes on from there.

use std::time::{Duration, Instant};

use clap::Args;

use super::{Context, DryRun, duration::duration, printer::Printer};
use crate::{
    departure::{Departure, Leaving, Seen, made_ready},
    error::{Interrupted, StillOpen},
    host::{Connections, Done},
    sys::{connections::can_destroy, interrupt::Interrupt},
    verb::Verb,
};

/// How often a wait looks, at most.
const LOOK: Duration = Duration::from_millis(50);
/// To look at every connection of a busy host takes a while: the pause after it is so many times as long.
const SHARE: u32 = 10;
/// A handshake may end after what was there was killed. One that was there before the drain does so once.
const ROUNDS: usize = 5;

#[derive(Args, Debug)]
pub(super) struct Leave {
    /// Go on when the last connection has gone, or fail after this long: `30s`, `5m`
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    wait: Option<Duration>,
    /// End the connections that are left after that, or at once
    #[arg(long)]
    kill: bool,
}

/// How a wait ended.
enum Waited {
    /// At the deadline, or sooner because nothing is open any more.
    Over(usize),
    Interrupted(usize),
}

impl Leave {
    /// Whether open connections matter at all.
    pub(super) fn is_asked(&self) -> bool {
        self.wait.is_some() || self.kill
    }

    /// Whether connections are to be ended.
    pub(super) fn kills(&self) -> bool {
        self.kill
    }

    /// Makes the first change, sees to the connections, and makes the last change if there is one.
    pub(super) fn run(
        &self,
        context: &Context<'_>,
        dry_run: &DryRun,
        departure: &Departure,
    ) -> anyhow::Result<()> {
        let dry_run = dry_run.dry_run;
        if self.kill && !dry_run {
            can_destroy()?;
        }
        let order = |verb| context.order(verb, false, dry_run);
        let drained = context.carry_out(order(Verb::Empty(departure.clone())))?;
        let leaving = &departure.leaving(&context.wanted()?)?;
        let mut report = Report { printer: context.printer, dry_run, told: Vec::new() };
        if dry_run {
            report.tell(drained)?;
            let open = context.look(departure, leaving)?.open;
            report.tell(said(self.rehearsed(open, leaving)))?;
        } else {
            let interrupt = Interrupt::hold()?;
            report.tell(drained)?;
            report.see_off(self, context, &interrupt, departure, leaving)?;
        }
        if departure.has_end() {
            report.tell(context.carry_out(order(Verb::Leave(departure.clone())))?)?;
        }
        report.end()
    }

    fn rehearsed(&self, open: usize, leaving: &Leaving) -> String {
        let (count, names) = (connections(open, "open "), leaving.names());
        let wait = self.wait.map(|wait| format!("wait {} for {count} of {names}", text(wait)));
        let kill = self.kill.then(|| format!("kill {count} of {names}"));
        match (wait, kill) {
            (Some(wait), Some(_)) => format!("{wait}, then kill those that are left"),
            (wait, kill) => wait.or(kill).unwrap_or_default(),
        }
    }

    /// Waits until nothing is open any more. No lock is held.
    fn wait(
        &self,
        context: &Context<'_>,
        interrupt: &Interrupt,
        departure: &Departure,
        leaving: &Leaving,
    ) -> anyhow::Result<Waited> {
        let wait = self.wait.unwrap_or_default();
        let started = Instant::now();
        loop {
            let look = Instant::now();
            let Seen { ready, open } = context.look(departure, leaving)?;
            if let Some(ready) = ready {
                return Err(made_ready(&ready));
            }
            let left = wait.saturating_sub(started.elapsed());
            if open == 0 || left.is_zero() {
                return Ok(Waited::Over(open));
            }
            if interrupt.within(LOOK.max(look.elapsed() * SHARE).min(left))? {
                return Ok(Waited::Interrupted(open));
            }
        }
    }
}

/// Tells what is done as it is done, or, as JSON, all of it at the end.
struct Report<'a> {
    printer: &'a Printer,
    dry_run: bool,
    told: Vec<Done>,
}

impl Report<'_> {
    fn tell(&mut self, done: Done) -> anyhow::Result<()> {
        if !self.printer.json() {
            return self.printer.change(&done, self.dry_run);
        }
        self.told.push(done);
        Ok(())
    }

    fn end(self) -> anyhow::Result<()> {
        let Some(done) = self.told.into_iter().reduce(and) else { return Ok(()) };
        self.printer.change(&done, self.dry_run)
    }

    /// Waits for connections, and ends those that are left, as the flags say.
    fn see_off(
        &mut self,
        flags: &Leave,
        context: &Context<'_>,
        interrupt: &Interrupt,
        departure: &Departure,
        leaving: &Leaving,
    ) -> anyhow::Result<()> {
        let names = leaving.names();
        let mut left = match flags.wait(context, interrupt, departure, leaving)? {
            Waited::Over(left) => left,
            Waited::Interrupted(left) => {
                let count = connections(left, "open ");
                return self.fail(
                    left,
                    0,
                    Interrupted(format!("interrupted: {names} left drained, with {count}")),
                );
            }
        };
        let mut killed = 0;
        for _ in 0..ROUNDS {
            if !flags.kill || left == 0 {
                break;
            }
            killed += leaving.kill(&context.host)?;
            left = leaving.open(&context.host)?;
        }
        if left > 0 {
            let count = connections(left, "open ");
            let wait = flags.wait.map(|wait| format!(" after {}", text(wait))).unwrap_or_default();
            return self.fail(left, killed, StillOpen(format!("drained {names}, but {count} left{wait}")));
        }
        let line = match (flags.kill, names.as_str()) {
            (_, "") => return Ok(()),
            (true, _) => format!("killed {} of {names}", connections(killed, "")),
            (false, _) => format!("no open connections of {names}"),
        };
        self.tell(Done { connections: Some(Connections { left, killed }), ..said(line) })
    }

    fn fail(&mut self, left: usize, killed: usize, error: impl Into<anyhow::Error>) -> anyhow::Result<()> {
        if let Some(mut done) = std::mem::take(&mut self.told).into_iter().reduce(and) {
            done.connections = Some(Connections { left, killed });
            self.printer.change(&done, self.dry_run)?;
        }
        Err(error.into())
    }
}

fn and(mut one: Done, other: Done) -> Done {
    one.line = format!("{}; {}", one.line, other.line);
    one.warnings.extend(other.warnings);
    one.notes.extend(other.notes);
    one.steps.extend(other.steps);
    one.connections = one.connections.or(other.connections);
    one
}

fn said(line: String) -> Done {
    Done { line, ..Done::default() }
}

fn connections(count: usize, kind: &str) -> String {
    format!("{count} {kind}connection{}", if count == 1 { "" } else { "s" })
}

fn text(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(duration)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use insta::assert_snapshot;

    use super::Leave;
    use crate::{cli::tests::wanted, departure::Departure, model::Options};

    #[test]
    fn rehearsal_says_what_becomes_of_open_connections() {
        let wanted = wanted(Options::default(), &["8001", "8002"]);
        let said = |wait: Option<u64>, kill, open, departure: Departure| {
            let leave = Leave { wait: wait.map(Duration::from_secs), kill };
            leave.rehearsed(open, &departure.leaving(&wanted).unwrap())
        };
        let web = || "web".parse().unwrap();
        let one = || Departure::Drain(web(), "8001".parse().unwrap());
        assert_snapshot!(said(Some(30), false, 1, one()), @"wait 30s for 1 open connection of web/8001");
        assert_snapshot!(said(None, true, 2, Departure::Detach(Some(web()))), @"kill 2 open connections of web/8001 web/8002");
        assert_snapshot!(said(Some(90), true, 0, Departure::Detach(None)), @"wait 1m 30s for 0 open connections of dns/5301 web/8001 web/8002, then kill those that are left");
    }
}
