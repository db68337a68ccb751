//! `round-robin`: each instance in its turn, as often as its weight says.
//!
//! The kernel counts the packets that reach an `nth` rule and matches one in so many. Rules one after the other that
//! match one in n, one in n - 1 and so on of what the others left over give n packets to n targets in order. For more
//! than a few turns the packets are first dealt out to parts, each of which has the same number of turns, and counts
//! for itself: any n connections in a row are n different turns, also when many CPUs count at once.

use super::{
    chain,
    pick::{Candidate, FLAT, landing},
    rules::Chain,
};
use crate::model::Name;

/// Turns at most, or hardly more; weights that would take more are rounded.
const MOST: u32 = 4096;

/// The chains that give each candidate its turns. The first connection after a change has the first turn.
pub(super) fn chains(service: &Name, candidates: &[Candidate]) -> Vec<Chain> {
    let landings: Vec<Chain> = candidates.iter().map(|candidate| landing(service, candidate.mark)).collect();
    let weights: Vec<u16> = candidates.iter().map(|candidate| candidate.weight).collect();
    let order: Vec<&str> = order(&weights).into_iter().map(|i| landings[i].name.as_str()).collect();
    let mut dealt = Vec::new();
    deal(service, chain::of(service), &order, &mut dealt);
    dealt.extend(landings);
    dealt
}

/// Adds the chain of that name, which gives each of the targets its turn.
fn deal(service: &Name, name: String, targets: &[&str], chains: &mut Vec<Chain>) {
    let at = chains.len();
    chains.push(Chain { name, rules: Vec::new() });
    let parts = if targets.len() <= FLAT { 0 } else { targets.len().isqrt() };
    // Those that cannot be dealt out evenly come first.
    let first = targets.len().checked_rem(parts).unwrap_or(targets.len());
    let mut rules: Vec<String> =
        (0..first).map(|i| format!("{}-g {}", one_in(targets.len() - i), targets[i])).collect();
    for i in 0..parts {
        let part = chain::part(service, &format!("t{}", chains.len()));
        rules.push(format!("{}-g {part}", one_in(parts - i)));
        let share: Vec<&str> = targets[first + i..].iter().step_by(parts).copied().collect();
        deal(service, part, &share, chains);
    }
    chains[at].rules = rules;
}

/// The match that holds for the first of every so many packets.
fn one_in(packets: usize) -> String {
    match packets {
        1 => String::new(),
        _ => format!("-m statistic --mode nth --every {packets} --packet 0 "),
    }
}

/// A whole round, as indices: everybody as often as the weight says, and as evenly over the round as can be.
fn order(weights: &[u16]) -> Vec<usize> {
    let mut turns: Vec<(u32, u32, usize)> = Vec::new();
    for (i, weight) in rounded(weights).into_iter().enumerate() {
        // The middles of equal parts of the round.
        turns.extend((0..weight).map(|turn| (2 * turn + 1, weight, i)));
    }
    turns.sort_by(|(a, of_a, _), (b, of_b, _)| (a * of_b).cmp(&(b * of_a)));
    turns.into_iter().map(|(_, _, i)| i).collect()
}

/// The smallest weights in the same proportions.
fn rounded(weights: &[u16]) -> Vec<u32> {
    let reduce = |weights: Vec<u32>| {
        let divisor = weights.iter().copied().fold(0, gcd).max(1);
        weights.into_iter().map(|weight| weight / divisor).collect::<Vec<u32>>()
    };
    let exact = reduce(weights.iter().map(|weight| u32::from(*weight)).collect());
    let total: u32 = exact.iter().sum();
    if total <= MOST {
        return exact;
    }
    reduce(exact.into_iter().map(|weight| ((weight * MOST + total / 2) / total).max(1)).collect())
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::{chains, rounded};
    use crate::engine::iptables::{pick::candidates, rule, rules::Chain};

    /// A rule: it matches one in so many packets, and leads to a chain or sets a mark.
    struct Rule {
        every: usize,
        count: usize,
        goto: Option<String>,
        mark: u16,
    }

    impl Rule {
        fn read(text: &str) -> Self {
            let words = rule::words(text);
            let mark = |mark: &str| u16::from_str_radix(&mark[2..mark.len() - 7], 16).unwrap();
            Self {
                every: rule::value(&words, &["--every"]).map_or(1, |every| every.parse().unwrap()),
                count: 0,
                goto: rule::value(&words, &["-g"]).map(Into::into),
                mark: rule::value(&words, &["--set-xmark"]).map_or(0, mark),
            }
        }
    }

    /// Counts as the kernel does.
    struct Kernel {
        chains: BTreeMap<String, Vec<Rule>>,
        /// Rules that the last connection walked.
        walked: usize,
    }

    impl Kernel {
        fn new(chains: &[Chain]) -> Self {
            let read = |chain: &Chain| {
                (chain.name.clone(), chain.rules.iter().map(|text| Rule::read(text)).collect())
            };
            Self { chains: chains.iter().map(read).collect(), walked: 0 }
        }

        /// The mark of the next connection.
        fn connect(&mut self) -> u16 {
            self.walked = 0;
            let mut chain = "WOCUT-web".to_owned();
            loop {
                let rules = self.chains.get_mut(&chain).unwrap();
                let matching = rules.iter_mut().position(|rule| {
                    self.walked += 1;
                    rule.count += 1;
                    rule.every == 1 || rule.count % rule.every == 1
                });
                match &rules[matching.unwrap()] {
                    Rule { goto: Some(next), .. } => chain.clone_from(next),
                    Rule { mark, .. } => return *mark,
                }
            }
        }
    }

    fn picks(weights: &[u16], connections: usize) -> Vec<u16> {
        let chains = chains(&"web".parse().unwrap(), &candidates(weights));
        let mut kernel = Kernel::new(&chains);
        (0..connections).map(|_| kernel.connect()).collect()
    }

    #[test]
    fn equals_take_exact_turns() {
        assert_eq!(picks(&[1; 3], 7), [1, 2, 3, 1, 2, 3, 1]);
        assert_eq!(picks(&[256; 2], 4), [1, 2, 1, 2]);
        assert_eq!(picks(&[7], 2), [1, 1]);
    }

    #[test]
    fn heavier_ones_have_turns_in_between() {
        assert_eq!(picks(&[1, 2, 5], 8), [3, 2, 3, 1, 3, 3, 2, 3]);
    }

    #[test]
    fn a_turn_of_many_walks_few_rules() {
        let chains = chains(&"web".parse().unwrap(), &candidates(&[1; 512]));
        let mut kernel = Kernel::new(&chains);
        let walked = (0..512)
            .map(|_| {
                kernel.connect();
                kernel.walked
            })
            .max();
        assert!(walked <= Some(48), "{walked:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn every_round_in_a_row_has_every_turn(
            weights in prop::collection::vec(prop_oneof![1u16..4, Just(256u16)], 1..40), skip in 0usize..500,
        ) {
            let turns = rounded(&weights);
            let round: u32 = turns.iter().sum();
            let picks = picks(&weights, skip + round as usize);
            let mut counts = vec![0; weights.len()];
            picks[skip..].iter().for_each(|mark| counts[usize::from(*mark) - 1] += 1);
            prop_assert_eq!(counts, turns);
        }

        #[test]
        fn equals_are_in_their_order_every_round(n in 1u16..520) {
            let picks = picks(&vec![3; n.into()], 2 * usize::from(n));
            prop_assert!(picks.into_iter().eq((1..=n).chain(1..=n)));
        }

        #[test]
        fn rounding_keeps_proportions(weights in prop::collection::vec(1u16..=256, 1..512)) {
            let turns = rounded(&weights);
            let (round, total) = (turns.iter().sum::<u32>(), weights.iter().map(|w| u32::from(*w)).sum::<u32>());
            prop_assert!(round <= super::MOST + 512);
            for (turns, weight) in turns.iter().zip(&weights) {
                let exact = f64::from(u32::from(*weight)) * f64::from(round) / f64::from(total);
                prop_assert!(*turns > 0 && (f64::from(*turns) - exact).abs() < 1.0 + exact / 8.0, "{} {}", turns, exact);
            }
        }
    }
}
