//! The order of a round: each member as often as its weight says, and spread over the round.

use wocut_common::SLOTS;

use super::shares;

/// Members in the order of their turns, as indices into `weights`. A member of weight 3 among ones of weight 1 is not
/// called three times in a row. At least one for each member; empty without members.
pub fn turns(weights: &[u16]) -> Vec<u16> {
    let divisor = weights.iter().copied().fold(0, greatest_common_divisor);
    if divisor == 0 {
        return Vec::new();
    }
    let mut counts: Vec<u32> = weights.iter().map(|&weight| u32::from(weight / divisor)).collect();
    if counts.iter().sum::<u32>() as usize > SLOTS {
        counts = shares(weights);
    }
    // A member's turns are at the middles of as many equal parts of the round. Times are in parts of 2^32.
    let time = |turn: u32, count: u32| (u64::from(2 * turn + 1) << 31) / u64::from(count);
    let mut order: Vec<(u64, u16)> = (0u16..)
        .zip(counts)
        .flat_map(|(member, count)| (0..count).map(move |turn| (time(turn, count), member)))
        .collect();
    order.sort_unstable();
    order.into_iter().map(|(_, member)| member).collect()
}

fn greatest_common_divisor(a: u16, b: u16) -> u16 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use wocut_common::{MAX_MEMBERS, SLOTS};

    use super::turns;

    #[test]
    fn turns_are_spread() {
        assert_eq!(turns(&[1, 1, 1]), [0, 1, 2]);
        assert_eq!(turns(&[4, 4]), [0, 1]);
        assert_eq!(turns(&[3, 1]), [0, 0, 1, 0]);
        assert!(turns(&[]).is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn every_member_has_its_turns(weights in prop::collection::vec(1u16..=256, 1..=MAX_MEMBERS)) {
            let turns = turns(&weights);
            prop_assert!(turns.len() <= SLOTS);
            let total: u64 = weights.iter().map(|&weight| u64::from(weight)).sum();
            for (member, &weight) in (0u16..).zip(&weights) {
                let count = turns.iter().filter(|&&turn| turn == member).count() as u64;
                let exact = u64::from(weight) * turns.len() as u64;
                prop_assert!(count * total >= exact - exact % total && count * total <= exact + total);
            }
        }
    }
}
