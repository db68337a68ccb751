//! What a test asks of a machine whose processor QEMU emulates: the same, but less of it, and in more time.

use std::fs;
use std::sync::OnceLock;
use std::time::Duration;

/// How much slower everything is there.
const SLOWER: u32 = 10;

fn is_emulated() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        fs::read_to_string("/proc/cpuinfo").is_ok_and(|processors| processors.contains("QEMU TCG"))
    })
}

/// What a limit on how long something may take comes to on this machine.
pub fn limit(usual: Duration) -> Duration {
    if is_emulated() { usual * SLOWER } else { usual }
}

/// How often something is done on this machine that is done so often on others.
pub fn times(usual: u64) -> u64 {
    if is_emulated() { usual / u64::from(SLOWER) } else { usual }
}
