//! `top` on a terminal: looks, draws, and does what keys ask for.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::Context as _;
use ratatui::{
    DefaultTerminal,
    crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
    widgets::TableState,
};
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
    low_level::emulate_default_handler,
};

use super::{
    draw::draw,
    view::{Asked, View},
};
use crate::{cli::Context, error::one_line, model::Name, verb::Verb};

/// How long a signal may wait: the terminal is read in between.
const SIGNALS: Duration = Duration::from_millis(100);

/// Shows services, or one, until the user has seen enough. A signal that ends the process does so after the terminal is
/// as it was; so does a panic.
pub(super) fn show(context: &Context<'_>, only: Option<&Name>, interval: Duration) -> anyhow::Result<()> {
    let signal = Arc::new(AtomicUsize::new(0));
    // Not SIGHUP: with its terminal gone there is nothing to give back, and reading it would not end.
    for number in [SIGTERM, SIGINT] {
        let value = usize::try_from(number).context("number a signal")?;
        flag::register_usize(number, Arc::clone(&signal), value).context("catch signals")?;
    }
    // Before the terminal is taken: what fails here is told as it is for any other command.
    let view = View::new(context.status(only)?);
    let mut terminal = ratatui::try_init().context("take over the terminal")?;
    let shown =
        Screen { context, only, interval, signal: &signal, start: Instant::now(), view }.run(&mut terminal);
    ratatui::try_restore().context("give the terminal back")?;
    let signal = i32::try_from(signal.load(Ordering::Relaxed)).unwrap_or_default();
    if signal != 0 {
        emulate_default_handler(signal).context("end by a signal")?;
    }
    shown
}

struct Screen<'a> {
    context: &'a Context<'a>,
    only: Option<&'a Name>,
    interval: Duration,
    signal: &'a AtomicUsize,
    start: Instant,
    view: View,
}

impl Screen<'_> {
    fn run(&mut self, terminal: &mut DefaultTerminal) -> anyhow::Result<()> {
        let color = self.context.printer.color();
        let mut scroll = TableState::new();
        let mut next = self.start + self.interval;
        while self.signal.load(Ordering::Relaxed) == 0 {
            terminal.draw(|frame| draw(frame, &self.view, color, &mut scroll)).context("draw")?;
            if self.next_event(next)?.is_some_and(|event| self.take(&event)) {
                break;
            }
            if Instant::now() >= next {
                self.look();
                next = Instant::now() + self.interval;
            }
        }
        Ok(())
    }

    /// What the terminal says before that time; nothing also when a signal came.
    fn next_event(&self, until: Instant) -> anyhow::Result<Option<Event>> {
        while self.signal.load(Ordering::Relaxed) == 0 {
            let left = until.saturating_duration_since(Instant::now());
            if event::poll(left.min(SIGNALS)).context("wait for the terminal")? {
                return Ok(Some(event::read().context("read the terminal")?));
            }
            if left.is_zero() {
                break;
            }
        }
        Ok(None)
    }

    /// Does what it asks for; true: the user has seen enough.
    fn take(&mut self, event: &Event) -> bool {
        let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event else {
            return false;
        };
        if modifiers.contains(KeyModifiers::CONTROL) {
            return *code == KeyCode::Char('c');
        }
        match self.view.key(*code) {
            Some(Asked::Quit) => return true,
            Some(Asked::Change(service, instance, admin)) => {
                let verb = Verb::Admin(service, instance, admin);
                let done = self.context.carry_out(self.context.order(verb, false, false));
                self.look();
                self.view.message = match done {
                    Ok(done) => [vec![done.line], done.warnings].concat().join("; "),
                    Err(error) => format!("error: {}", one_line(&error)),
                };
            }
            None => {}
        }
        false
    }

    /// What cannot be read now may be read the next time: a daemon starts again, a service comes back.
    fn look(&mut self) {
        match self.context.status(self.only) {
            Ok(status) => self.view.look(self.start.elapsed(), status),
            Err(error) => self.view.message = format!("error: {}", one_line(&error)),
        }
    }
}
