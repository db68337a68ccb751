//! Watches picks as they happen.
//!
//! The `trace` program is a second one on the same hook. Its link is held by this process alone: while nobody watches
//! there is no program to run, and a watcher that is killed leaves nothing behind.

use std::{
    net::IpAddr,
    os::fd::AsFd as _,
    sync::atomic::{AtomicBool, Ordering},
};

use anyhow::Context as _;
use aya::programs::SkLookup;
use aya_log::EbpfLogger;

use super::{Ebpf, load, pins};
use crate::sys::readable;

/// A pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// Index of the service.
    pub service: u32,
    /// Who connects.
    pub client: IpAddr,
    /// From which port.
    pub client_port: u16,
    /// Port of the instance that got it; `None` if nobody did.
    pub port: Option<u16>,
    /// Id of the instance that the hash chose first; 0 if there was none to choose, or if the policy goes by state.
    pub first_choice: u32,
    /// What became of that.
    pub became: Outcome,
}

/// What became of offering a connection to an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has it.
    Taken,
    /// It has no listener for the client's address family.
    Absent,
    /// Its accept queue is full.
    Full,
    /// The kernel would not assign its listener.
    Refused,
}

/// Calls `seen` with each pick, until it says to stop or the user interrupts. `ready` is called once picks are seen.
pub fn watch(
    engine: &Ebpf<'_>,
    ready: impl FnOnce(),
    seen: impl Fn(Pick) -> bool + Send + Sync,
) -> anyhow::Result<()> {
    anyhow::ensure!(pins::is_complete(&engine.pins, engine.netns)?, "the ebpf engine is not loaded here");
    let mut object = load::object(&engine.pins, engine.netns, false)?;
    let done = AtomicBool::new(false);
    let mut logger = EbpfLogger::init_with_logger(&mut object, Sink { seen, done: &done })
        .context("open the ring buffer")?;
    let trace: &mut SkLookup = load::program(&mut object, "trace")?;
    trace.load().context("load program trace")?;
    trace.attach(&engine.netns.file).context("attach program trace to the network namespace")?;
    ready();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_io().build().context("start a runtime")?;
    runtime.block_on(async {
        let ring =
            logger.as_fd().try_clone_to_owned().and_then(readable::register).context("wait for picks")?;
        while !done.load(Ordering::Relaxed) {
            tokio::select! {
                ready = ring.readable() => {
                    ready.context("wait for picks")?.clear_ready();
                    logger.flush();
                }
                interrupt = tokio::signal::ctrl_c() => return interrupt.context("wait for an interrupt"),
            }
        }
        Ok(())
    })
}

/// Turns the program's lines back into picks.
struct Sink<'a, F> {
    seen: F,
    done: &'a AtomicBool,
}

impl<F: Fn(Pick) -> bool + Send + Sync> log::Log for Sink<'_, F> {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        // Picks come in batches, and this one may be behind the last that is wanted.
        if self.done.load(Ordering::Relaxed) {
            return;
        }
        let line = record.args().to_string();
        if let Some(pick) = parse(&line)
            && !(self.seen)(pick)
        {
            self.done.store(true, Ordering::Relaxed);
        }
    }

    fn flush(&self) {}
}

fn parse(line: &str) -> Option<Pick> {
    let mut words = line.split_whitespace();
    let mut next = || words.next();
    Some(Pick {
        service: next()?.parse().ok()?,
        client: next()?.parse().ok()?,
        client_port: next()?.parse().ok()?,
        port: next()?.parse().ok().filter(|port| *port != 0),
        first_choice: next()?.parse().ok()?,
        became: match next()? {
            "0" => Outcome::Taken,
            "1" => Outcome::Absent,
            "2" => Outcome::Full,
            _ => Outcome::Refused,
        },
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

    use log::Log as _;

    use super::{Outcome, Pick, Sink, parse};

    #[test]
    fn nothing_is_told_after_the_last_one_that_is_wanted() {
        let (told, done) = (AtomicU32::new(0), AtomicBool::new(false));
        let sink = Sink { seen: |_| told.fetch_add(1, Ordering::Relaxed) < 1, done: &done };
        for _ in 0..4 {
            sink.log(&log::Record::builder().args(format_args!("0 10.0.0.2 40112 8002 7 0")).build());
        }
        assert_eq!(told.load(Ordering::Relaxed), 2);
    }

    #[test]
    fn lines_of_the_program_are_read() {
        let pick = Pick {
            service: 0,
            client: [10, 0, 0, 2].into(),
            client_port: 40112,
            port: Some(8002),
            first_choice: 7,
            became: Outcome::Full,
        };
        assert_eq!(parse("0 10.0.0.2 40112 8002 7 2"), Some(pick));
        assert_eq!(parse("0 fd00::2 1 0 7 1").and_then(|pick| pick.port), None);
        assert_eq!(parse("not a pick"), None);
    }
}
