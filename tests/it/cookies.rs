//! SYN cookies, where the kernel looks the listener up a second time, for the last ACK of the handshake.

use wocut_tests::daemon::Daemon;
use wocut_tests::emulated::times;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::host::Host;
use wocut_tests::lan::Family;

engines! { no_connection_fails_under_syn_cookies: ebpf tc nft legacy }
fn no_connection_fails_under_syn_cookies(engine: Engine) {
    let host = Host::new(engine);
    // 2: a cookie for every connection, not only when the queue overflows. It holds for IPv6 too.
    host.lan.server.set("ipv4/tcp_syncookies", "2");
    let _daemons = Daemon::pythons(&host.lan.server, 8001..=8004);
    host.attach("web 80/tcp to 8001 8002 8003 8004");
    for family in Family::BOTH {
        let tally = host.burst(family, times(5000));
        assert_eq!(tally.no_failure().only(&[8001, 8002, 8003, 8004]).answered_total(), times(5000));
    }
}
