//! The Debian package: installed, started as its units say, removed and purged, in a copy of this machine's root.

use std::fs;

use wocut_tests::daemon::Daemon;
use wocut_tests::docs::links;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::host::{Host, SERVICE};
use wocut_tests::lan::Family;
use wocut_tests::load::Load;
use wocut_tests::must::Must as _;
use wocut_tests::need;
use wocut_tests::need::{package, tool};
use wocut_tests::root::Root;
use wocut_tests::serve::{service, web};
use wocut_tests::tool::run;

/// Everything that somebody may look for, with its mode.
const FILES: &str = "\
644 root:root /usr/lib/systemd/system/wocut.service
644 root:root /usr/lib/systemd/system/wocut@.service
644 root:root /usr/lib/sysusers.d/wocut.conf
644 root:root /usr/lib/tmpfiles.d/wocut.conf
644 root:root /usr/share/bash-completion/completions/wocut
644 root:root /usr/share/doc/wocut/changelog.Debian.gz
644 root:root /usr/share/doc/wocut/changelog.gz
644 root:root /usr/share/doc/wocut/copyright
644 root:root /usr/share/doc/wocut/docs/README.md
644 root:root /usr/share/doc/wocut/docs/figures/pick.svg
644 root:root /usr/share/doc/wocut/docs/recipes/nginx.md
644 root:root /usr/share/doc/wocut/examples/alerts.yml
644 root:root /usr/share/fish/vendor_completions.d/wocut.fish
644 root:root /usr/share/man/man1/wocut-attach.1.gz
644 root:root /usr/share/man/man1/wocut.1.gz
644 root:root /usr/share/man/man5/wocut.toml.5.gz
644 root:root /usr/share/man/man8/wocut.8.gz
644 root:root /usr/share/zsh/vendor-completions/_wocut
710 root:wocut /run/wocut
755 root:root /etc/wocut
755 root:root /usr/bin/wocut
";

/// Copies the package into the root and installs it there, over what is installed.
fn install(root: &Root, host: &Host) {
    let package = package().must("have a package");
    fs::copy(package, root.path("tmp/wocut.deb")).must("copy the package");
    root.sh(Some(&host.lan.server), "dpkg --no-triggers --install /tmp/wocut.deb");
}

fn write(root: &Root, name: &str, text: &str) {
    fs::write(root.path("etc/wocut").join(name), text).must("write a configuration");
}

engines! { package_starts_as_its_units_say_and_a_purge_leaves_nothing: ebpf nft }
fn package_starts_as_its_units_say_and_a_purge_leaves_nothing(engine: Engine) {
    need!(package());
    let host = Host::new(engine);
    let server = &host.lan.server;
    let _daemons = Daemon::pythons(server, 8001..=8003);
    let root = Root::new();
    install(&root, &host);
    let paths = FILES.lines().map(|line| line.rsplit(' ').next().must("name a file")).collect::<Vec<_>>();
    assert_eq!(root.sh(None, &format!("stat --format='%a %U:%G %n' {}", paths.join(" "))), FILES);
    let pages = links::pages(&root.path("usr/share/doc/wocut/docs"));
    assert!(pages.len() > 20, "{pages:?}");
    assert_eq!(pages.iter().flat_map(|page| links::dead(page)).collect::<Vec<_>>(), Vec::<String>::new());
    root.sh(None, "bash -c '. /usr/share/bash-completion/completions/wocut && complete -p wocut'");

    write(&root, "web.toml", &web(&host, "8001, 8002"));
    let daemon = root.start(server, "wocut.service");
    host.burst_both(100).no_failure().only(&[8001, 8002]);
    assert_eq!(
        root.sh(None, "stat --format='%a %U:%G' /run/wocut /run/wocut/api.sock"),
        "710 root:wocut\n660 root:wocut\n"
    );

    let api = service(&host, "api", "listen = [\"81/tcp\"]\ninstances = [8003]");
    write(&root, "api.toml", &api);
    run(&mut root.unit(server, "wocut@.service", "api"));
    assert_eq!(root.sh(None, "stat --format='%a %U:%G' /run/wocut"), "710 root:wocut\n");
    let list = root.sh(Some(server), "wocut list");
    assert!(list.contains("api") && list.contains("web"), "{list}");

    assert_eq!(daemon.terminate(), Some(0));
    root.sh(Some(server), "dpkg --no-triggers --remove wocut");
    assert!(!root.path("usr/bin/wocut").exists());
    host.burst_both(100).no_failure().only(&[8001, 8002]);

    root.sh(Some(server), "dpkg --no-triggers --purge wocut");
    assert_eq!(host.burst(Family::V4, 10).answered_total(), 0);
    for gone in [
        "run/wocut",
        "sys/fs/bpf/wocut",
        "var/lib/wocut",
        "etc/systemd/system/multi-user.target.wants/wocut.service",
    ] {
        assert!(root.path(gone).symlink_metadata().is_err(), "{gone} is left");
    }
    assert_eq!(server.get("ipv4/ip_local_reserved_ports"), "");
    assert!(!run(server.command("nft").args(["list", "ruleset"])).contains("WOCUT"));
    assert!(root.path("etc/wocut/web.toml").exists());
}

engines! { package_that_comes_over_another_swaps_programs_and_drops_nothing: ebpf }
fn package_that_comes_over_another_swaps_programs_and_drops_nothing(engine: Engine) {
    need!(package());
    let host = Host::new(engine);
    let server = &host.lan.server;
    let _daemons = Daemon::pythons(server, 8001..=8002);
    let root = Root::new();
    install(&root, &host);
    root.sh(Some(server), "wocut attach web 80/tcp to 8001 8002");
    let program = || root.sh(None, "bpftool -j prog show pinned /sys/fs/bpf/wocut/*/lookup");
    let before = program();
    let load = Load::start(&host.lan.client, &[host.lan.at(Family::V4, SERVICE)], 4);
    install(&root, &host);
    load.stop().no_failure().only(&[8001, 8002]);
    assert_ne!(program(), before);
}

#[test]
fn units_are_what_systemd_reads() {
    need!(package());
    need!(tool("systemd-analyze"));
    let root = Root::new();
    fs::copy(package().must("have a package"), root.path("tmp/wocut.deb")).must("copy the package");
    root.sh(None, "dpkg --no-triggers --install /tmp/wocut.deb");
    let units = "/usr/lib/systemd/system/wocut.service /usr/lib/systemd/system/wocut@.service";
    assert_eq!(root.sh(None, &format!("systemd-analyze verify --man=no {units} 2>&1")), "");
    let enabled = root.path("etc/systemd/system/multi-user.target.wants/wocut.service");
    assert!(enabled.is_symlink(), "the daemon is not enabled");
}
