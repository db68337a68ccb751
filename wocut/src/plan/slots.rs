//! Filling a slot table: each member gets its weight's share of the slots, and keeps them when others come and go.
//!
//! The method is Maglev's (<https://research.google/pubs/pub44824/>, section 3.4): every member prefers the slots in
//! an order of its own, and the members take turns at claiming the first free one. Weight is a quota of slots, worked
//! out beforehand, and how often a member has its turn.

use wocut_common::{SLOTS, pick};

/// A member of a slot table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Decides the order of preference: the same member prefers the same slots in every table.
    pub identity: u64,
    /// At least 1.
    pub weight: u16,
}

/// The exact share of each weight, in slots: their sum is [`SLOTS`], and each is within one of its quota.
pub fn shares(weights: &[u16]) -> Vec<u32> {
    let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
    if total == 0 {
        return vec![0; weights.len()];
    }
    let exact = |weight: u16| u64::from(weight) * SLOTS as u64;
    let mut shares: Vec<u64> = weights.iter().map(|&weight| exact(weight) / total).collect();
    let left = SLOTS as u64 - shares.iter().sum::<u64>();
    // What rounding down left over goes to the largest remainders; the sort is stable, so the first of equals wins.
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(exact(weights[i]) % total));
    for &i in order.iter().take(usize::try_from(left).unwrap_or(0)) {
        shares[i] += 1;
    }
    shares.into_iter().filter_map(|share| u32::try_from(share).ok()).collect()
}

/// Which member has each slot, as an index into `members`. Empty without members.
pub fn fill(members: &[Member]) -> Vec<u16> {
    const FREE: u16 = u16::MAX;
    if members.is_empty() {
        return Vec::new();
    }
    let weights: Vec<u16> = members.iter().map(|member| member.weight).collect();
    let quotas = shares(&weights);
    let rounds = u64::from(quotas.iter().copied().max().unwrap_or(0));
    let mut walks: Vec<Walk> = members.iter().map(|member| Walk::new(member.identity)).collect();
    let mut taken = vec![0u32; members.len()];
    let mut slots = vec![FREE; SLOTS];
    for round in 1..=rounds {
        for (i, walk) in walks.iter_mut().enumerate() {
            // In each round a member has as many slots as its quota says it should have by then.
            while u64::from(taken[i]) * rounds < u64::from(quotas[i]) * round {
                let slot = walk.find(|&slot| slots[slot] == FREE);
                let Some(slot) = slot else { break };
                slots[slot] = u16::try_from(i).unwrap_or(FREE);
                taken[i] += 1;
            }
        }
    }
    slots
}

/// All slots, each once, in an order of a member's own.
struct Walk {
    next: usize,
    step: usize,
    left: usize,
}

impl Walk {
    fn new(identity: u64) -> Self {
        let order = pick::hash([0, 0], &[identity]);
        // An odd step meets every slot of a power of two.
        let half = |bits: u64| usize::try_from(bits & 0xffff_ffff).unwrap_or(0);
        Self { next: half(order) % SLOTS, step: (half(order >> 32) % SLOTS) | 1, left: SLOTS }
    }
}

impl Iterator for Walk {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let slot = self.next;
        self.next = (self.next + self.step) % SLOTS;
        Some(slot)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wocut_common::{MAX_MEMBERS, SLOTS};

    use super::{Member, fill, shares};

    fn members(weights: &[u16]) -> Vec<Member> {
        (0u64..)
            .zip(weights)
            .map(|(identity, &weight)| Member { identity: 8000 + identity, weight })
            .collect()
    }

    fn counts(slots: &[u16], members: usize) -> Vec<u32> {
        let mut counts = vec![0; members];
        for &member in slots {
            counts[usize::from(member)] += 1;
        }
        counts
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn every_member_has_exactly_its_share(weights in prop::collection::vec(1u16..=256, 1..MAX_MEMBERS)) {
            let slots = fill(&members(&weights));
            prop_assert_eq!(slots.len(), SLOTS);
            prop_assert_eq!(counts(&slots, weights.len()), shares(&weights));
        }

        #[test]
        fn shares_add_up_and_follow_the_weights(weights in prop::collection::vec(1u16..=256, 1..MAX_MEMBERS)) {
            let shares = shares(&weights);
            prop_assert_eq!(shares.iter().sum::<u32>() as usize, SLOTS);
            let total: u64 = weights.iter().map(|&w| u64::from(w)).sum();
            for (&share, &weight) in shares.iter().zip(&weights) {
                let quota = u64::from(weight) * SLOTS as u64 / total;
                prop_assert!(u64::from(share) == quota || u64::from(share) == quota + 1);
            }
        }

        /// 1 of 20 goes: its slots must move, and of the others' at most half as many again.
        #[test]
        fn removing_one_of_twenty_moves_few_others(gone in 0usize..20, base in 0u64..1 << 40) {
            let before: Vec<Member> =
                (0..20).map(|i| Member { identity: base + i, weight: 1 }).collect();
            let mut after = before.clone();
            after.remove(gone);
            let old = fill(&before);
            let new = fill(&after);
            let moved = old.iter().zip(&new).filter(|&(&o, &n)| before[usize::from(o)] != after[usize::from(n)]);
            let must = old.iter().filter(|&&o| usize::from(o) == gone).count();
            prop_assert!(moved.count() * 2 <= must * 3);
        }
    }

    #[test]
    fn no_members_fill_nothing() {
        assert!(fill(&[]).is_empty());
        assert!(shares(&[]).is_empty());
    }
}
