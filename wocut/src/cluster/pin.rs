//! One CPU a worker.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// The CPUs that this process may use.
#[derive(Clone, Debug)]
pub struct Cpus {
    all: CpuSet,
    numbers: Vec<usize>,
}

impl Cpus {
    /// Those of the calling thread.
    pub fn allowed() -> io::Result<Self> {
        let all = sched_getaffinity(None)?;
        let numbers = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu)).collect();
        Ok(Self { all, numbers })
    }

    /// The CPU of the worker with that index. They are given out in turns.
    pub fn of(&self, index: u32) -> Option<usize> {
        let turn = usize::try_from(index).ok()?.checked_rem(self.numbers.len())?;
        self.numbers.get(turn).copied()
    }

    /// Runs code on that worker's CPU. What it starts stays there: a process has the CPUs of the thread that made it, so
    /// it never runs anywhere else, which it would do for a moment if it were moved afterwards.
    pub fn on<T>(&self, index: u32, code: impl FnOnce() -> T) -> io::Result<T> {
        if let Some(cpu) = self.of(index) {
            let mut only = CpuSet::new();
            only.set(cpu);
            sched_setaffinity(None, &only)?;
        }
        let result = code();
        // What was started is started: whoever could not go back goes on where it is.
        let _stays = sched_setaffinity(None, &self.all);
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use rustix::thread::sched_getaffinity;

    use super::Cpus;

    #[test]
    fn cpus_are_given_out_in_turns() {
        let cpus = Cpus { all: sched_getaffinity(None).unwrap(), numbers: vec![1, 5] };
        assert_eq!([0, 1, 2, 3].map(|index| cpus.of(index)), [1, 5, 1, 5].map(Some));
    }

    #[test]
    fn worker_is_started_on_its_cpu_and_the_master_stays_where_it_was() {
        let cpus = Cpus::allowed().unwrap();
        let last = u32::try_from(cpus.numbers.len() - 1).unwrap();
        let status = cpus.on(last, || Command::new("/bin/cat").arg("/proc/self/status").output()).unwrap();
        let status = String::from_utf8(status.unwrap().stdout).unwrap();
        let line = format!("Cpus_allowed_list:\t{}\n", cpus.of(last).unwrap());
        assert!(status.contains(&line), "{status}");
        assert_eq!(Cpus::allowed().unwrap().numbers, cpus.numbers);
    }
}
