//! Names of the chains, which are how this engine knows what is its own.

use crate::model::Name;

/// The chain that the hooks jump to. It dispatches to the chains of the services.
pub(super) const ROOT: &str = "WOCUT";
/// Longest name that the kernel takes (`XT_EXTENSION_MAXNAMELEN`, less the final NUL).
const MAX: usize = 28;
/// One character tells the parts of a chain from one another.
pub(super) const MAX_PARTS: usize = PARTS.len();
const PARTS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";

/// The chain of a service.
pub(super) fn of(service: &Name) -> String {
    format!("{ROOT}-{service}")
}

/// One part of a service's chain. A `.` cannot stand in a service's name, so that no other chain has this one.
pub(super) fn part(service: &Name, part: usize) -> String {
    format!("{}.{}", of(service), char::from(PARTS[part % MAX_PARTS]))
}

/// Whether the name of the service leaves room for names of parts. If not, its chains stay in one piece.
pub(super) fn can_have_parts(service: &Name) -> bool {
    part(service, 0).len() <= MAX
}

/// Whether a chain belongs to this engine.
pub(crate) fn is_own(chain: &str) -> bool {
    chain.strip_prefix(ROOT).is_some_and(|rest| rest.is_empty() || rest.starts_with('-'))
}

/// Whether a chain belongs to that service.
pub(super) fn is_of(chain: &str, service: &Name) -> bool {
    chain.strip_prefix(of(service).as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::{MAX, can_have_parts, is_of, is_own, of, part};
    use crate::model::Name;

    #[test]
    fn every_service_name_makes_a_chain_that_the_kernel_takes() {
        let name: Name = "a".repeat(Name::MAX).parse().unwrap();
        assert_eq!(of(&name).len(), MAX);
        assert!(!can_have_parts(&name));
    }

    #[test]
    fn foreign_chains_and_other_services_are_told_apart() {
        let web: Name = "web".parse().unwrap();
        assert_eq!(part(&web, 11), "WOCUT-web.b");
        assert!(is_own("WOCUT") && is_own("WOCUT-web.b"));
        assert!(!is_own("WOCUTTER") && !is_own("DOCKER") && !is_own("wocut"));
        assert!(is_of("WOCUT-web", &web) && is_of("WOCUT-web.b", &web));
        assert!(!is_of("WOCUT-web2", &web) && !is_of("WOCUT-web-a.b", &web) && !is_of("WOCUT", &web));
    }
}
