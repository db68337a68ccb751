//! What many connections came to.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::client::{Answer, Failure, Stage, bytes};
use crate::must::check;
use crate::stats::{Shares, p_value};

/// The sum of many connections.
#[derive(Debug, Default)]
pub struct Tally {
    /// How many connections each instance answered.
    pub answers: BTreeMap<u16, u64>,
    /// The connections that failed, with how long each took to.
    pub failures: Vec<(Failure, Duration)>,
    /// The longest time from connect to answer.
    pub slowest: Duration,
    /// Daemons' own ports, as they saw them, with how often.
    pub local_ports: BTreeMap<u16, u64>,
    /// Answers in which the daemon saw another client than the one that asked.
    pub strangers: Vec<Answer>,
    /// Bytes each instance received and sent.
    pub bytes: BTreeMap<u16, (u64, u64)>,
    /// How many answers may come from an instance that should give none. Conntrack keeps an ended connection for a
    /// while, and a new one from the same client port may go where that went: that is NAT, and no rule can help it.
    pub strays: u64,
}

impl Tally {
    /// Adds one connection.
    pub fn add(&mut self, outcome: Result<Answer, Failure>, took: Duration) {
        match outcome {
            Ok(answer) => self.answered(&answer, took),
            Err(failure) => self.failures.push((failure, took)),
        }
    }

    fn answered(&mut self, answer: &Answer, took: Duration) {
        *self.answers.entry(answer.instance).or_default() += 1;
        *self.local_ports.entry(answer.local.port()).or_default() += 1;
        self.slowest = self.slowest.max(took);
        let (received, sent) = self.bytes.entry(answer.instance).or_default();
        let (question, reply) = bytes(answer);
        *received += question;
        *sent += reply;
        if answer.peer != answer.own {
            self.strangers.push(*answer);
        }
    }

    /// Adds another tally.
    #[must_use]
    pub fn merge(mut self, other: Self) -> Self {
        for (instance, count) in other.answers {
            *self.answers.entry(instance).or_default() += count;
        }
        for (port, count) in other.local_ports {
            *self.local_ports.entry(port).or_default() += count;
        }
        for (instance, (received, sent)) in other.bytes {
            let sum = self.bytes.entry(instance).or_default();
            *sum = (sum.0 + received, sum.1 + sent);
        }
        self.failures.extend(other.failures);
        self.strangers.extend(other.strangers);
        self.slowest = self.slowest.max(other.slowest);
        self.strays += other.strays;
        self
    }

    /// How many connections were answered.
    pub fn answered_total(&self) -> u64 {
        self.answers.values().sum()
    }

    /// How many connections one instance answered.
    pub fn by(&self, instance: u16) -> u64 {
        self.answers.get(&instance).copied().unwrap_or_default()
    }

    /// The instances that answered.
    pub fn instances(&self) -> Vec<u16> {
        self.answers.keys().copied().collect()
    }

    /// Fails the test if any connection failed, or none was answered.
    #[track_caller]
    pub fn no_failure(&self) -> &Self {
        check(self.failures.is_empty(), || self.summary());
        check(self.answered_total() > 0, || "nothing was answered".to_owned());
        self
    }

    /// Fails the test if any connect failed; a daemon that was killed may have taken its open connections with it.
    #[track_caller]
    pub fn no_failed_connect(&self) -> &Self {
        let failed = self.failures.iter().any(|(failure, _)| failure.stage == Stage::Connect);
        check(!failed, || self.summary());
        check(self.answered_total() > 0, || "nothing was answered".to_owned());
        self
    }

    /// Fails the test unless exactly these instances answered.
    #[track_caller]
    pub fn only(&self, instances: &[u16]) -> &Self {
        let all = instances.iter().all(|instance| self.answers.contains_key(instance));
        check(all, || format!("not all of {instances:?} answered: {}", self.summary()));
        self.among(instances)
    }

    /// Fails the test if others than these instances answered.
    #[track_caller]
    pub fn among(&self, instances: &[u16]) -> &Self {
        let strays = self.answers.iter().filter(|(instance, _)| !instances.contains(instance));
        let strays: u64 = strays.map(|(_, count)| *count).sum();
        check(strays <= self.strays, || format!("not {instances:?} answered: {}", self.summary()));
        self
    }

    /// How likely answers as uneven as these are, if each instance has its share.
    pub fn p_value(&self, shares: &Shares) -> f64 {
        p_value(&self.answers, shares)
    }

    fn summary(&self) -> String {
        let mut kinds: BTreeMap<_, u64> = BTreeMap::new();
        for (failure, took) in &self.failures {
            *kinds
                .entry(format!("{:?}: {} after about {} s", failure.stage, failure.error, took.as_secs()))
                .or_default() += 1;
        }
        format!(
            "{} failed: {kinds:?}; answered: {:?}; slowest: {:?}",
            self.failures.len(),
            self.answers,
            self.slowest
        )
    }
}
