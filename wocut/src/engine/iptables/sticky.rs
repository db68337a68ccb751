//! `sticky`: the same client address, the same instance.
//!
//! Rules make a bucket number of the address: the remainder of its division by a polynomial, as a CRC is, one rule for
//! each bit of the prefix. `HMARK` would make one in a single rule, but it sets all 32 bits of the mark, and those
//! outside the mask are somebody else's. Then a tree of chains leads from the bucket to an instance.

use std::collections::BTreeSet;

use wocut_common::pick::hash;

use super::{
    chain,
    pick::{Candidate, landing, set},
    rules::Chain,
};
use crate::model::Name;

const BITS: u32 = 12;
const BUCKETS: usize = 1 << BITS;
/// A primitive polynomial, so that any twelve neighbouring bits of an address lead to all buckets.
const POLYNOMIAL: u16 = 0x1053;
/// Branches of the tree at each level.
const BRANCHES: usize = 16;

/// The chains that pick by address: the service's own, which makes the bucket, then the tree, then the ends.
///
/// `source_bits` are the numbers of the bits that count, with a match for each. At least one candidate is eligible.
pub(super) fn chains(service: &Name, source_bits: &[(u8, String)], candidates: &[Candidate]) -> Vec<Chain> {
    let mut candidates = candidates.to_vec();
    // The same set has the same buckets, in whatever order it came together.
    candidates.sort_by_key(|candidate| candidate.identity);
    let marks: Vec<u16> = table(&candidates).into_iter().map(|i| candidates[i].mark).collect();
    let mut tree = Tree { service, chains: Vec::new() };
    let root = tree.grow("s", &marks);
    let mut rules = vec![set(0)];
    rules.extend(source_bits.iter().map(|(bit, matching)| {
        // `set-xmark` with an empty mask changes the bits that are given, and no other.
        format!("{matching} -j MARK --set-xmark {:#x}/0x0", remainder(*bit))
    }));
    rules.push(format!("-g {root}"));
    let ends: BTreeSet<u16> = marks.into_iter().collect();
    let own = Chain { name: chain::of(service), rules };
    let ends = ends.into_iter().map(|mark| landing(service, mark));
    std::iter::once(own).chain(tree.chains).chain(ends).collect()
}

/// What a bit of the address adds to the bucket: a power of x, divided by the polynomial.
fn remainder(bit: u8) -> u16 {
    let double = |sum: u16, _| if sum >> (BITS - 1) & 1 == 1 { sum << 1 ^ POLYNOMIAL } else { sum << 1 };
    (0..bit).fold(1, double)
}

struct Tree<'a> {
    service: &'a Name,
    chains: Vec<Chain>,
}

impl Tree<'_> {
    /// Makes what leads from these buckets to their marks, and returns the chain to go to.
    fn grow(&mut self, end: &str, marks: &[u16]) -> String {
        if marks.iter().all(|mark| *mark == marks[0]) {
            return landing(self.service, marks[0]).name;
        }
        let name = chain::part(self.service, end);
        let size = marks.len() / BRANCHES;
        let branches: Vec<String> = (0..BRANCHES)
            .map(|i| self.grow(&format!("{end}{i:x}"), &marks[i * size..(i + 1) * size]))
            .collect();
        let times = |one: &&String| branches.iter().filter(|other| other == one).count();
        // What most buckets lead to is what is left when no rule matches.
        let Some(usual) = branches.iter().max_by_key(times) else { return name };
        let mask = (BRANCHES - 1) * size;
        let rules = branches.iter().enumerate().filter(|(_, branch)| *branch != usual);
        let mut rules: Vec<String> = rules
            .map(|(i, branch)| format!("-m mark --mark {:#x}/{mask:#x} -g {branch}", i * size))
            .collect();
        rules.push(format!("-g {usual}"));
        self.chains.push(Chain { name: name.clone(), rules });
        name
    }
}

/// Which candidate has each bucket, as an index. Every candidate has buckets of its own, and those of one that takes no
/// new connections are lent to the others: no client of another has to move when it goes, nor when it comes back.
fn table(candidates: &[Candidate]) -> Vec<usize> {
    let mut buckets = vec![None; BUCKETS];
    claim(&mut buckets, candidates, |_| true);
    for bucket in &mut buckets {
        *bucket = bucket.filter(|i| candidates[*i].is_eligible);
    }
    claim(&mut buckets, candidates, |candidate| candidate.is_eligible);
    buckets.into_iter().flatten().collect()
}

/// Gives the free buckets to candidates, each up to its share of all buckets. They claim in turns, each in an order of its
/// own (Maglev, <https://research.google/pubs/pub44824/>, section 3.4), so that few buckets change hands when one comes
/// or goes for good.
fn claim(buckets: &mut [Option<usize>], candidates: &[Candidate], takes: impl Fn(&Candidate) -> bool) {
    let weights: Vec<usize> = candidates
        .iter()
        .map(|candidate| if takes(candidate) { candidate.weight.into() } else { 0 })
        .collect();
    let quotas = quotas(&weights);
    let mut taken = vec![0; candidates.len()];
    buckets.iter().flatten().for_each(|i| taken[*i] += 1);
    let mut orders: Vec<_> = candidates.iter().map(|candidate| preferred(candidate.identity)).collect();
    let rounds = quotas.iter().copied().max().unwrap_or(0);
    for round in 1..=rounds {
        for (i, order) in orders.iter_mut().enumerate() {
            while taken[i] * rounds < quotas[i] * round {
                let Some(free) = order.find(|bucket| buckets[*bucket].is_none()) else { break };
                buckets[free] = Some(i);
                taken[i] += 1;
            }
        }
    }
}

/// Shares of all buckets, by weight; what rounding down leaves over goes to the largest remainders.
fn quotas(weights: &[usize]) -> Vec<usize> {
    let total = weights.iter().sum::<usize>().max(1);
    let mut quotas: Vec<usize> = weights.iter().map(|weight| weight * BUCKETS / total).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|i| std::cmp::Reverse(weights[*i] * BUCKETS % total));
    let left = BUCKETS - quotas.iter().sum::<usize>();
    order.into_iter().take(left).for_each(|i| quotas[i] += 1);
    quotas
}

/// All buckets, each once, in an order of a candidate's own. Each step is a permutation: an odd factor is, and so is a
/// shifted copy on top. Steps of one width alone would make some pairs of orders much alike.
fn preferred(identity: u64) -> impl Iterator<Item = usize> {
    let order = hash([0, 0], &[identity]);
    let part = |shift: u32| usize::try_from(order >> shift & (BUCKETS as u64 - 1)).unwrap_or(0);
    let (first, step, factor) = (part(0), part(16) | 1, part(32) | 1);
    (0..BUCKETS).map(move |i| {
        let mixed = mix((first + i * step) % BUCKETS);
        mix(mixed * factor % BUCKETS)
    })
}

fn mix(bucket: usize) -> usize {
    bucket ^ bucket >> (BITS / 2)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::{BTreeMap, BTreeSet},
        net::{IpAddr, Ipv4Addr, Ipv6Addr},
    };

    use proptest::prelude::*;

    use super::{BITS, BUCKETS, chains, preferred, quotas, remainder, table};
    use crate::{
        engine::iptables::{
            family::Family,
            mark::MASK,
            pick::{Candidate, candidates},
            rule,
            rules::Chain,
        },
        model::StickyPrefix,
    };

    /// A value under a mask.
    type Masked = (u128, u128);

    /// A rule: what it matches, and what it does.
    struct Rule {
        source: Masked,
        mark: Masked,
        set: Option<Masked>,
        goto: Option<String>,
    }

    fn bits(address: IpAddr) -> u128 {
        match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()) << 96,
            IpAddr::V6(v6) => v6.to_bits(),
        }
    }

    impl Rule {
        fn read(text: &str) -> Self {
            let words = rule::words(text);
            let number = |text: &str| u128::from_str_radix(text.strip_prefix("0x").unwrap(), 16).unwrap();
            let network = |(network, mask): (&str, &str)| {
                let mask = mask
                    .parse()
                    .map_or_else(|_| bits(mask.parse().unwrap()), |bits: u32| u128::MAX << (128 - bits));
                (bits(network.parse().unwrap()), mask)
            };
            let pair = |option| rule::value(&words, &[option])?.split_once('/');
            let numbers = |(value, mask)| (number(value), number(mask));
            Self {
                source: pair("-s").map_or((0, 0), network),
                mark: pair("--mark").map_or((0, 0), numbers),
                set: pair("--set-xmark").map(numbers),
                goto: rule::value(&words, &["-g"]).map(Into::into),
            }
        }
    }

    /// Walks the rules as the kernel does: the mark in the end, and how many rules that took.
    fn walk(chains: &BTreeMap<&str, Vec<Rule>>, client: IpAddr, before: u128) -> (u128, usize) {
        let (client, mut mark, mut walked) = (bits(client), before, 0);
        let mut chain = "WOCUT-web";
        'chain: loop {
            for rule in &chains[chain] {
                walked += 1;
                if client & rule.source.1 != rule.source.0 || mark & rule.mark.1 != rule.mark.0 {
                    continue;
                }
                if let Some((value, mask)) = rule.set {
                    mark = mark & !mask ^ value;
                }
                if let Some(next) = &rule.goto {
                    chain = next;
                    continue 'chain;
                }
            }
            return (mark, walked);
        }
    }

    fn made(family: Family, prefix: StickyPrefix, candidates: &[Candidate]) -> Vec<Chain> {
        chains(&"web".parse().unwrap(), &family.source_bits(prefix), candidates)
    }

    /// Where the clients end, with the most rules that one of them walked.
    fn picks(chains: &[Chain], clients: &[IpAddr]) -> (Vec<u16>, usize) {
        let read = |chain: &Chain| chain.rules.iter().map(|text| Rule::read(text)).collect();
        let read = chains.iter().map(|chain| (chain.name.as_str(), read(chain))).collect();
        let mut most = 0;
        let picks = clients.iter().map(|client| {
            let (mark, walked) = walk(&read, *client, 0x7abc_1234);
            assert_eq!(mark >> 16, 0x7abc, "the bits of others");
            most = most.max(walked);
            u16::try_from(mark & u128::from(MASK)).unwrap()
        });
        (picks.collect(), most)
    }

    fn v4(count: u32) -> Vec<IpAddr> {
        (0..count).map(|i| Ipv4Addr::from_bits(0x0a01_0002 + i).into()).collect()
    }

    /// Of different /64 networks.
    fn v6(count: u32) -> Vec<IpAddr> {
        let network = |i| Ipv6Addr::from_bits(0xfd00_0001 << 96 | u128::from(i) << 64 | 0x51);
        (0..count).map(|i| network(i).into()).collect()
    }

    /// How far the counts are from equal, as chi-square.
    fn chi_square(picks: &[u16], instances: u16) -> f64 {
        let count = |picks: usize| f64::from(u32::try_from(picks).unwrap());
        let expected = count(picks.len()) / f64::from(instances);
        let of = |mark| count(picks.iter().filter(|pick| **pick == mark).count());
        (1..=instances).map(|mark| (of(mark) - expected).powi(2) / expected).sum()
    }

    #[test]
    fn ten_thousand_clients_spread_evenly() {
        for (family, clients) in [(Family::V4, v4(10_000)), (Family::V6, v6(10_000))] {
            let (picks, walked) =
                picks(&made(family, StickyPrefix::default(), &candidates(&[1; 8])), &clients);
            // 7 degrees of freedom: one in a thousand is over 24.3 if they are random, and these are more even.
            assert!(chi_square(&picks, 8) < 24.3, "{}", chi_square(&picks, 8));
            assert!(walked <= 64 + 2 + 3 * 16 + 1, "{walked}");
        }
    }

    #[test]
    fn clients_of_one_network_are_one() {
        let chains = made(Family::V4, StickyPrefix { v4: 24, v6: 64 }, &candidates(&[1; 8]));
        let clients: Vec<IpAddr> = (0..256).map(|i| Ipv4Addr::from_bits(0x0a01_0200 + i).into()).collect();
        let (of_one, _) = picks(&chains, &clients);
        assert_eq!(of_one.iter().collect::<BTreeSet<_>>().len(), 1);
        assert!(picks(&chains, &v4(10_000)).0.iter().collect::<BTreeSet<_>>().len() > 1);
        let everybody = made(Family::V6, StickyPrefix { v4: 0, v6: 0 }, &candidates(&[1; 8]));
        assert_eq!(picks(&everybody, &v6(100)).0.iter().collect::<BTreeSet<_>>().len(), 1);
    }

    /// Whatever two bytes of an address differ, 65,536 clients are spread over all buckets, 16 on each.
    #[test]
    fn any_two_bytes_of_an_address_lead_to_every_bucket() {
        let rank = |bits: &[u8]| {
            let mut rows: Vec<u16> = bits.iter().map(|bit| remainder(*bit)).collect();
            let mut rank = 0;
            for column in 0..BITS {
                let Some(at) = rows.iter().position(|row| row >> column & 1 == 1) else { continue };
                let pivot = rows.swap_remove(at);
                rows.iter_mut().filter(|row| **row >> column & 1 == 1).for_each(|row| *row ^= pivot);
                rank += 1;
            }
            rank
        };
        for (one, other) in (0..16u8).flat_map(|one| (0..one).map(move |other| (one * 8, other * 8))) {
            let bits: Vec<u8> = (one..one + 8).chain(other..other + 8).collect();
            assert_eq!(rank(&bits), BITS, "bytes at {one} and {other}");
        }
        assert!((0..=116u8).all(|first| rank(&(first..first + 12).collect::<Vec<_>>()) == BITS));
    }

    #[test]
    fn the_mark_of_an_instance_is_not_taken_for_a_bucket() {
        let mut members = candidates(&[1; 16]);
        for member in &mut members {
            member.mark = 0x100 * member.mark + 0x23;
        }
        let marks: BTreeSet<u16> = members.iter().map(|member| member.mark).collect();
        let (picks, _) = picks(&made(Family::V4, StickyPrefix::default(), &members), &v4(5000));
        assert_eq!(picks.into_iter().collect::<BTreeSet<_>>(), marks);
    }

    #[test]
    fn every_bucket_is_in_every_order() {
        for identity in 0..100 {
            assert_eq!(preferred(identity).collect::<BTreeSet<_>>().len(), BUCKETS);
        }
    }

    #[test]
    fn the_order_in_which_instances_came_makes_no_difference() {
        let mut members = candidates(&[1, 2, 3, 4, 5]);
        let prefix = StickyPrefix::default();
        let before = made(Family::V4, prefix, &members);
        members.reverse();
        assert_eq!(made(Family::V4, prefix, &members), before);
    }

    fn weights() -> impl Strategy<Value = Vec<u16>> {
        prop::collection::vec(1u16..=256, 2..60)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn every_instance_has_its_share_of_the_buckets(weights in weights()) {
            let table = table(&candidates(&weights));
            prop_assert_eq!(table.len(), BUCKETS);
            let counts: Vec<usize> = (0..weights.len()).map(|i| table.iter().filter(|own| **own == i).count()).collect();
            prop_assert_eq!(counts, quotas(&weights.iter().map(|weight| usize::from(*weight)).collect::<Vec<_>>()));
        }

        #[test]
        fn who_goes_for_a_while_moves_no_client_of_another(weights in weights(), gone in any::<prop::sample::Index>()) {
            let mut members = candidates(&weights);
            let before = table(&members);
            let gone = gone.index(members.len());
            members[gone].is_eligible = false;
            let meanwhile = table(&members);
            for (before, meanwhile) in before.iter().zip(&meanwhile) {
                let moved = before != meanwhile;
                prop_assert_eq!(moved, *before == gone);
            }
            let total: usize = weights.iter().map(|weight| usize::from(*weight)).sum::<usize>() - usize::from(weights[gone]);
            for (i, weight) in weights.iter().enumerate().filter(|(i, _)| *i != gone) {
                let share = usize::from(*weight) * BUCKETS / total;
                let count = meanwhile.iter().filter(|own| **own == i).count();
                prop_assert!(count.abs_diff(share) <= 2, "{} of {}", count, share);
            }
        }

        /// 1 of 20 goes for good: its clients must move, and of the others' little more than half as many again.
        #[test]
        fn who_goes_for_good_moves_few_clients_of_others(gone in 0usize..20, base in 0u64..1 << 40) {
            let mut members = candidates(&[1; 20]);
            for (i, member) in members.iter_mut().enumerate() {
                member.identity = base + i as u64;
            }
            let before = table(&members);
            let mut left = members.clone();
            left.remove(gone);
            let after = table(&left);
            let moved = before.iter().zip(&after).filter(|(b, a)| members[**b] != left[**a]).count();
            let must = before.iter().filter(|own| **own == gone).count();
            prop_assert!(moved * 5 <= must * 8, "{moved} moved for {must}");
        }

    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(8))]

        #[test]
        fn rules_lead_where_the_table_says(weights in prop::collection::vec(1u16..=9, 1..40), drained: u64) {
            let mut members = candidates(&weights);
            members.iter_mut().enumerate().skip(1).for_each(|(i, member)| member.is_eligible = drained >> (i % 64) & 1 == 0);
            members.sort_by_key(|member| member.identity);
            let (table, clients) = (table(&members), v4(1 << BITS));
            let (picks, _) = picks(&made(Family::V4, StickyPrefix::default(), &members), &clients);
            for (client, pick) in clients.iter().zip(picks) {
                let IpAddr::V4(address) = client else { continue };
                let bits = (0..32u8).filter(|bit| address.to_bits() >> bit & 1 == 1);
                let bucket = bits.fold(0, |sum, bit| sum ^ remainder(bit));
                prop_assert_eq!(members[table[usize::from(bucket)]].mark, pick);
            }
        }
    }
}
