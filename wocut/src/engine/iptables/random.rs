//! `random`: a pick by chance, weighted.

use super::{
    chain,
    pick::{Candidate, FLAT, set},
    rules::Chain,
};
use crate::model::Name;

/// The kernel compares 31 bits of a random number.
const UNIT: f64 = 2_147_483_648.0;

/// The chains that pick one of the candidates: the service's own first, then its parts, if there are many.
pub(super) fn chains(service: &Name, candidates: &[Candidate]) -> Vec<Chain> {
    if candidates.len() <= FLAT {
        return vec![Chain { name: chain::of(service), rules: cascade(candidates) }];
    }
    let groups: Vec<&[Candidate]> = candidates.chunks(candidates.len().isqrt()).collect();
    let mut left = total(candidates);
    let mut rules = Vec::new();
    let mut parts = Vec::new();
    for (i, group) in groups.iter().enumerate() {
        let part = chain::part(service, &format!("r{i}"));
        rules.push(format!("{}-g {part}", chance(total(group), left)));
        left -= total(group);
        parts.push(Chain { name: part, rules: cascade(group) });
    }
    parts.insert(0, Chain { name: chain::of(service), rules });
    parts
}

/// A mark is set over the one before: the first candidate takes all, the second its share of the two, the third its
/// share of the three. No rule has to end the walk, and adding one at the end changes none of the others.
fn cascade(candidates: &[Candidate]) -> Vec<String> {
    let mut sum = 0;
    let rule = |candidate: &Candidate| {
        sum += u32::from(candidate.weight);
        chance(candidate.weight.into(), sum) + &set(candidate.mark)
    };
    candidates.iter().map(rule).collect()
}

fn total(candidates: &[Candidate]) -> u32 {
    candidates.iter().map(|candidate| u32::from(candidate.weight)).sum()
}

/// The match that holds for `share` of `whole` packets, in the precision that the kernel has.
fn chance(share: u32, whole: u32) -> String {
    if share == whole {
        return String::new();
    }
    let probability = (f64::from(share) / f64::from(whole) * UNIT).round() / UNIT;
    format!("-m statistic --mode random --probability {probability:.11} ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::chains;
    use crate::engine::iptables::{pick::candidates, rule, rules::Chain};

    /// Walks the rules as the kernel does, and returns the probability of each final mark.
    fn walk(chains: &[Chain]) -> BTreeMap<String, f64> {
        let mut ended = BTreeMap::new();
        let (mark, reached) =
            enter(chains, &chains[0].name, BTreeMap::from([(String::new(), 1.0)]), &mut ended);
        assert!(reached >= 0.0);
        for (mark, probability) in mark {
            *ended.entry(mark).or_insert(0.0) += probability;
        }
        ended.retain(|_, probability| *probability > 0.0);
        ended
    }

    /// Returns what falls off the end of the chain; what a goto takes is put into `ended`.
    fn enter(
        chains: &[Chain],
        name: &str,
        mut here: BTreeMap<String, f64>,
        ended: &mut BTreeMap<String, f64>,
    ) -> (BTreeMap<String, f64>, f64) {
        let chain = chains.iter().find(|chain| chain.name == name).unwrap();
        for text in &chain.rules {
            let words = rule::words(text);
            let p: f64 = rule::value(&words, &["--probability"]).map_or(1.0, |p| p.parse().unwrap());
            let matched: BTreeMap<String, f64> = here.iter().map(|(mark, q)| (mark.clone(), q * p)).collect();
            for q in here.values_mut() {
                *q *= 1.0 - p;
            }
            if let Some(part) = rule::value(&words, &["-g"]) {
                let (rest, _) = enter(chains, part, matched, ended);
                for (mark, q) in rest {
                    *ended.entry(mark).or_insert(0.0) += q;
                }
            } else {
                let mark = rule::value(&words, &["--set-xmark"]).unwrap().to_owned();
                *here.entry(mark).or_insert(0.0) += matched.values().sum::<f64>();
            }
        }
        let sum = here.values().sum();
        (here, sum)
    }

    #[test]
    fn a_pick_of_many_walks_few_rules() {
        let chains = chains(&"web".parse().unwrap(), &candidates(&[1; 512]));
        let longest = chains.iter().skip(1).map(|chain| chain.rules.len()).max().unwrap();
        assert!(chains[0].rules.len() <= 24 && longest <= 24, "{} {longest}", chains[0].rules.len());
    }

    proptest! {
        #[test]
        fn every_instance_gets_exactly_its_share(weights in prop::collection::vec(1u16..=256, 1..512)) {
            let total: f64 = weights.iter().map(|weight| f64::from(*weight)).sum();
            let shares = walk(&chains(&"web".parse().unwrap(), &candidates(&weights)));
            prop_assert_eq!(shares.len(), weights.len());
            for (i, weight) in (1..).zip(&weights) {
                let share = shares[&format!("{i:#x}/0xffff")];
                // The kernel's probabilities have 31 bits.
                prop_assert!((share - f64::from(*weight) / total).abs() < 1e-8, "{} of {}: {}", weight, total, share);
            }
        }
    }
}
