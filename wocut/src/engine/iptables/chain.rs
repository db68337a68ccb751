//! Names of the chains, which are how this engine knows what is its own.

use crate::model::Name;

/// The chain that the hooks jump to. It dispatches to the chains of the services.
pub(super) const ROOT: &str = "WOCUT";
/// Longest name that the kernel takes (`XT_EXTENSION_MAXNAMELEN`, less the final NUL).
const MAX: usize = 28;
/// Longest end of a part's name.
const MAX_END: usize = 4;

/// The chain of a service.
pub(super) fn of(service: &Name) -> String {
    format!("{ROOT}-{service}")
}

/// The service that a chain of a service is named after, as text.
pub(super) fn service(chain: &str) -> Option<&str> {
    chain.strip_prefix(ROOT)?.strip_prefix('-')
}

/// One part of a service's chain, told from the others by the end of its name. A `.` cannot stand in a service's name,
/// so that no other chain has this one.
pub(super) fn part(service: &Name, end: &str) -> String {
    format!("{}.{end}", stem(service))
}

/// What the names of all parts begin with. Where the kernel's limit leaves no room behind a long name, it is a number
/// made of it.
fn stem(service: &Name) -> String {
    let whole = of(service);
    if whole.len() + 1 + MAX_END <= MAX {
        return whole;
    }
    // FNV-1a: <http://www.isthe.com/chongo/tech/comp/fnv/>.
    let step = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let sum = service.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, step);
    format!("{ROOT}-.{sum:016x}")
}

/// Whether a chain belongs to this engine.
pub(crate) fn is_own(chain: &str) -> bool {
    chain.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Whether a chain belongs to that service.
pub(super) fn is_of(chain: &str, service: &Name) -> bool {
    chain == of(service) || chain.strip_prefix(&stem(service)).is_some_and(|rest| rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::{MAX, is_of, is_own, of, part};
    use crate::model::Name;

    #[test]
    fn every_service_name_makes_a_chain_that_the_kernel_takes() {
        let name: Name = "a".repeat(Name::MAX).parse().unwrap();
        assert_eq!(of(&name).len(), MAX);
        let part = part(&name, "1f41");
        assert!(part.len() <= MAX && is_own(&part) && is_of(&part, &name), "{part}");
        let other: Name = "b".repeat(Name::MAX).parse().unwrap();
        assert!(!is_of(&part, &other) && !is_of(&part, &"web".parse().unwrap()));
    }

    #[test]
    fn foreign_chains_and_other_services_are_told_apart() {
        let web: Name = "web".parse().unwrap();
        assert_eq!(part(&web, "b"), "WOCUT-web.b");
        assert!(is_own("WOCUT") && is_own("WOCUT-web.b"));
        assert!(!is_own("WOCUTTER") && !is_own("DOCKER") && !is_own("wocut"));
        assert!(is_of("WOCUT-web", &web) && is_of("WOCUT-web.b", &web));
        assert!(!is_of("WOCUT-web2", &web) && !is_of("WOCUT-web-a.b", &web) && !is_of("WOCUT", &web));
    }
}
