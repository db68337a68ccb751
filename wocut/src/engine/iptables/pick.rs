//! The pick: rules of the mangle table that set exactly one mark. How, is the policy's business.

use super::{chain, family::Family, mark::MASK, random, rules::Chain, sticky, turns};
use crate::model::{Name, Options, Policy};

/// More choices than this are made in levels, so that a new connection walks few rules.
pub(super) const FLAT: usize = 16;

/// One candidate of a pick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) mark: u16,
    /// Not 0.
    pub(super) weight: u16,
    /// The same for the same place, whatever else changes.
    pub(super) identity: u64,
    /// Whether it may be given new connections. One that may not keeps its clients for the day it may.
    pub(super) is_eligible: bool,
}

/// The chains that pick one of the candidates: the service's own first, then what it leads to.
///
/// Without anybody to pick the mark is cleared, so that a mark of somebody else's is not mistaken for a pick.
pub(super) fn chains(
    family: Family,
    service: &Name,
    options: Options,
    candidates: &[Candidate],
) -> Vec<Chain> {
    let eligible: Vec<Candidate> =
        candidates.iter().filter(|candidate| candidate.is_eligible).copied().collect();
    if eligible.is_empty() {
        return vec![Chain { name: chain::of(service), rules: vec![set(0)] }];
    }
    match options.policy {
        Policy::RoundRobin => turns::chains(service, &eligible),
        Policy::Sticky => sticky::chains(service, &family.source_bits(options.sticky_prefix), candidates),
        // What rules cannot count they leave to chance, under `--allow-degraded`.
        Policy::Random | Policy::LeastConn | Policy::LeastBacklog => random::chains(service, &eligible),
    }
}

/// Sets the mark. The bits of others stay as they are.
pub(super) fn set(mark: u16) -> String {
    format!("-j MARK --set-xmark {mark:#x}/{MASK:#x}")
}

/// A chain that sets one mark. A goto to it ends the walk, which a MARK by itself does not.
pub(super) fn landing(service: &Name, mark: u16) -> Chain {
    Chain { name: chain::part(service, &format!("{mark:04x}")), rules: vec![set(mark)] }
}

#[cfg(test)]
pub(super) fn candidates(weights: &[u16]) -> Vec<Candidate> {
    let candidate =
        |(mark, &weight): (u16, &u16)| Candidate { mark, weight, identity: mark.into(), is_eligible: true };
    (1..).zip(weights).map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use super::{candidates, chains};
    use crate::{
        engine::iptables::family::Family,
        model::{Options, Policy},
    };

    #[test]
    fn nobody_to_pick_clears_the_mark() {
        let mut drained = candidates(&[1, 2]);
        for candidate in &mut drained {
            candidate.is_eligible = false;
        }
        for policy in Policy::ALL {
            let options = Options { policy: *policy, ..Options::default() };
            let chains = chains(Family::V4, &"web".parse().unwrap(), options, &drained);
            assert_eq!(
                (chains.len(), &chains[0].rules[..]),
                (1, &["-j MARK --set-xmark 0x0/0xffff".into()][..])
            );
        }
    }
}
