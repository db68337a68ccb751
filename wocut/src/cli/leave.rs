//! `--wait` and `--kill`: what `drain`, `remove` and `detach` do about open connections.
//!
//! First the instances get no new connections, which is one change. Then connections end, or are ended, and no lock is
//! held. Then comes the rest of the command. Whatever stops it in the middle leaves drained instances, and the same
//! command goes on from there.

use std::time::{Duration, Instant};

use clap::Args;

use super::{Context, DryRun, printer::Printer};
use crate::{
    error::{Interrupted, StillOpen},
    host::{Connections, Done, Host, service},
    model::{Admin, Name, Service, Wanted},
    plan::{Change, ChangeError},
    sys::{connections::can_destroy, interrupt::Interrupt},
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
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    wait: Option<Duration>,
    /// End the connections that are left after that, or at once
    #[arg(long)]
    kill: bool,
}

/// Services, each with the instances whose connections are to go.
pub(super) struct Leaving(Vec<(Name, Service)>);

impl Leaving {
    /// Some instances of a service.
    pub(super) fn instances(wanted: &Wanted, name: &Name, leaving: &[Name]) -> Result<Self, ChangeError> {
        let mut service = service(wanted, name)?.clone();
        if let Some(unknown) = leaving.iter().find(|leaving| service.instance(leaving).is_none()) {
            return Err(ChangeError::NoInstance(name.clone(), (*unknown).clone()));
        }
        service.instances.retain(|instance| leaving.contains(&instance.spec.name));
        Ok(Self(vec![(name.clone(), service)]))
    }

    /// A whole service, or all.
    pub(super) fn services(wanted: &Wanted, name: Option<&Name>) -> Result<Self, ChangeError> {
        Ok(Self(match name {
            Some(name) => vec![(name.clone(), service(wanted, name)?.clone())],
            None => wanted.services.clone().into_iter().collect(),
        }))
    }

    /// The change that keeps new connections off.
    pub(super) fn drain(&self) -> Change {
        let names = |service: &Service| service.instances.iter().map(|i| i.spec.name.clone()).collect();
        Change::Drain(self.0.iter().map(|(name, service)| (name.clone(), names(service))).collect())
    }

    fn ready(&self) -> Option<String> {
        self.all().find(|(_, instance)| instance.admin == Admin::Ready).map(|(name, _)| name)
    }

    fn names(&self) -> String {
        self.all().map(|(name, _)| name).collect::<Vec<_>>().join(" ")
    }

    fn all(&self) -> impl Iterator<Item = (String, &crate::model::Instance)> {
        self.0.iter().flat_map(|(name, service)| {
            service.instances.iter().map(move |instance| (format!("{name}/{}", instance.spec.name), instance))
        })
    }

    fn open(&self, host: &Host) -> anyhow::Result<usize> {
        let count = || self.0.iter().map(|(name, service)| host.open(name, service)).sum();
        match count()? {
            // A list that changes while it is read may miss a connection once.
            0 => count(),
            open => Ok(open),
        }
    }

    fn kill(&self, host: &Host) -> anyhow::Result<usize> {
        self.0.iter().map(|(name, service)| host.kill(name, service)).sum()
    }
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

    /// Makes the first change, sees to the connections, and makes the last change if there is one.
    pub(super) fn run(
        &self,
        context: &Context<'_>,
        dry_run: &DryRun,
        who: impl Fn(&Wanted) -> Result<Leaving, ChangeError>,
        first: impl FnOnce(&Leaving) -> Change,
        last: Option<Change>,
    ) -> anyhow::Result<()> {
        let Context { host, printer, global } = context;
        let (dry_run, verbose) = (dry_run.dry_run, global.verbose > 0);
        if self.kill && !dry_run {
            can_destroy()?;
        }
        let mut leaving = Leaving(Vec::new());
        let drained = host.change(dry_run, verbose, |_, wanted| {
            leaving = who(wanted)?;
            if let Some(last) = last.clone() {
                // What cannot come to an end is not begun.
                last.apply(&mut wanted.clone())?;
            }
            Ok(first(&leaving))
        })?;
        let mut report = Report { printer, dry_run, told: Vec::new() };
        if dry_run {
            report.tell(drained)?;
            report.tell(said(self.rehearsed(leaving.open(host)?, &leaving)))?;
        } else {
            let interrupt = Interrupt::hold()?;
            report.tell(drained)?;
            report.see_off(self, host, &interrupt, &leaving, &who)?;
        }
        if let Some(last) = last {
            let change = |_: &Host, wanted: &Wanted| match who(wanted)?.ready().filter(|_| !dry_run) {
                Some(ready) => Err(made_ready(&ready)),
                None => Ok(last),
            };
            report.tell(host.change(dry_run, verbose, change)?)?;
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
        host: &Host,
        interrupt: &Interrupt,
        leaving: &Leaving,
        who: impl Fn(&Wanted) -> Result<Leaving, ChangeError>,
    ) -> anyhow::Result<Waited> {
        let wait = self.wait.unwrap_or_default();
        let started = Instant::now();
        loop {
            let look = Instant::now();
            // What others have removed meanwhile is waited for all the same.
            if let Some(ready) = who(&host.wanted()?).ok().and_then(|now| now.ready()) {
                return Err(made_ready(&ready));
            }
            let open = leaving.open(host)?;
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
        host: &Host,
        interrupt: &Interrupt,
        leaving: &Leaving,
        who: impl Fn(&Wanted) -> Result<Leaving, ChangeError>,
    ) -> anyhow::Result<()> {
        let names = leaving.names();
        host.settle(leaving.0.iter().map(|(_, service)| service))?;
        let mut left = match flags.wait(host, interrupt, leaving, who)? {
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
            killed += leaving.kill(host)?;
            left = leaving.open(host)?;
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
    one.steps.extend(other.steps);
    one.connections = one.connections.or(other.connections);
    one
}

fn said(line: String) -> Done {
    Done { line, ..Done::default() }
}

fn made_ready(instance: &str) -> anyhow::Error {
    anyhow::anyhow!("{instance} was made ready while its connections were to go: it is left as it is")
}

fn connections(count: usize, kind: &str) -> String {
    format!("{count} {kind}connection{}", if count == 1 { "" } else { "s" })
}

fn text(duration: Duration) -> humantime::FormattedDuration {
    humantime::format_duration(duration)
}
