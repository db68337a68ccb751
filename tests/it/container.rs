//! The image for containers: built of its recipe, and run with the rights and the mounts that the page on installing gives it.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::host::Host;
use wocut_tests::must::{Must as _, check};
use wocut_tests::need;
use wocut_tests::need::context;
use wocut_tests::processes::signal;
use wocut_tests::root::Root;
use wocut_tests::tool::{output, run};
use wocut_tests::wait::wait_until;

const RECIPE: &str = include_str!("../../wocut/dist/Containerfile");
const PAGE: &str = include_str!("../../wocut/docs/install.md");

/// Where images are, in the root; `vfs` works on every file system.
const STORE: &str = "--root /run/images --runroot /run/images-now --storage-driver vfs";
/// Of a host with both kinds of control groups, which crun does not take, it sees the new kind. It puts nobody into any.
const GROUPS: &str =
    "if [ -d /sys/fs/cgroup/unified ]; then mount --bind /sys/fs/cgroup/unified /sys/fs/cgroup; fi";
const RUNTIME: &str = "--isolation oci --runtime crun --runtime-flag cgroup-manager=disabled";

/// The options of `podman run` on the page, which buildah has as well.
fn options() -> String {
    let line = PAGE.split("# podman run ").nth(1).must("find the line that runs it");
    let line = line.split("\n```").next().must("find its end").replace("\\\n", " ");
    let options = line.strip_suffix(" wocut").must("end with the image's name");
    // Where it may not be raised, it has to do as it is.
    let raises = output(Command::new("prlimit").args(["--memlock=unlimited", "true"])).status.success();
    if raises { options.to_owned() } else { options.replace("--ulimit memlock=-1", "") }
}

/// A container that runs; dropping it kills it.
struct Container(Child);

impl Container {
    /// Starts what the image says, and waits until its daemon answers.
    fn start(root: &Root, host: &Host) -> Self {
        let buildah = |words: &str| format!("buildah {STORE} {words}");
        root.sh(None, &format!("{GROUPS}; mkdir -p /run/wocut /etc/wocut"));
        root.sh(
            None,
            &buildah("build --quiet --isolation chroot --tag wocut --file /tmp/Containerfile /tmp/context"),
        );
        root.sh(None, &buildah(&format!("from {} wocut", options())));
        let each = |key: &str| format!("{{{{range .OCIv1.Config.{key}}}}}{{{{.}}}} {{{{end}}}}");
        let said = format!("inspect --type image --format '{}{}' wocut", each("Entrypoint"), each("Cmd"));
        let command = root.sh(None, &buildah(&said));
        let start = format!("exec {} wocut -- {command}", buildah(&format!("run {RUNTIME}")));
        let mut sh = root.command(Some(&host.lan.server), "sh");
        let mut container =
            Self(sh.args(["-c", &start]).stdin(Stdio::null()).spawn().must("start a container"));
        wait_until("the daemon listens", Duration::from_secs(20), || {
            let ended = container.0.try_wait().must("look at the container");
            check(ended.is_none(), || "the container has ended".into());
            root.path("run/wocut/api.sock").exists()
        });
        container
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // It kills what runs in there.
        signal(self.0.id(), Signal::TERM);
        drop(self.0.wait());
    }
}

engines! { container_serves_with_the_rights_that_the_page_names: ebpf }
fn container_serves_with_the_rights_that_the_page_names(engine: Engine) {
    need!(context());
    let host = Host::new(engine);
    let server = &host.lan.server;
    let _daemons = Daemon::pythons(server, 8001..=8002);
    let root = Root::new();
    let from = context().must("have the archive");
    run(Command::new("cp").arg("--recursive").arg(from).arg(root.path("tmp/context")));
    fs::write(root.path("tmp/Containerfile"), RECIPE).must("write the recipe");
    let container = Container::start(&root, &host);

    // The host's command has no right of its own: it is the daemon that does it.
    root.sh(None, "tar --directory=/usr -xzf /tmp/context/*.tar.gz bin/wocut");
    let attach = "setpriv --bounding-set=-all --inh-caps=-all wocut attach web 80/tcp to 8001 8002";
    assert_eq!(root.sh(Some(server), attach), "attached web: 80/tcp to 8001 8002, engine ebpf\n");
    host.burst_both(100).no_failure().only(&[8001, 8002]);
    drop(container);
    host.burst_both(100).no_failure().only(&[8001, 8002]);
    root.sh(Some(server), "wocut detach --all");
    assert!(!Path::new(&root.path("sys/fs/bpf/wocut")).exists());
}
