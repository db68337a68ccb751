//! `OpenVPN` servers, each of which is one thread, behind one port.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::held::Held;
use wocut_tests::host::Host;
use wocut_tests::lan::{Family, connect};
use wocut_tests::load::burst;
use wocut_tests::must::Must as _;
use wocut_tests::need::{tool, tunnels};
use wocut_tests::netns::Netns;
use wocut_tests::sockets::has_udp;
use wocut_tests::tool::{output, run};
use wocut_tests::udp::{self, Flow};
use wocut_tests::wait::{wait_for, wait_until};
use wocut_tests::{engines, need};

const VPN: u16 = 1194;
const ALL: [u16; 3] = [8001, 8002, 8003];
/// Ports of daemons that are reached through the tunnels.
const ECHO: u16 = 7000;

/// A certificate that is its own authority, and that all show.
fn certificate() -> TempDir {
    let folder = tempfile::tempdir().must("make a folder for OpenVPN");
    let mut openssl = Command::new("openssl");
    openssl.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    openssl.args(["-subj", "/CN=wocut", "-days", "2", "-keyout", "key", "-out", "certificate"]);
    run(openssl.current_dir(&folder));
    folder
}

/// `OpenVPN` in a namespace, with what servers and clients have in common, for other words to follow.
fn openvpn(netns: &Netns, folder: &Path, log: &str) -> Command {
    let mut command = netns.command("openvpn");
    command.args(["--ca", "certificate", "--cert", "certificate", "--key", "key", "--verb", "3"]);
    command.args(["--dev-type", "tun", "--cd"]).arg(folder).arg("--log").arg(folder.join(log));
    command
}

/// The number of a server's network, 10.8.N.0/24.
fn network(port: u16) -> u16 {
    port - 8000
}

fn start_server(netns: &Netns, folder: &Path, port: u16) -> Daemon {
    let mut command = openvpn(netns, folder, &format!("server-{port}"));
    command.args(["--dev", &format!("tun{port}"), "--proto", "udp6", "--port", &port.to_string()]);
    command.args(["--server", &format!("10.8.{}.0", network(port)), "255.255.255.0", "--topology", "subnet"]);
    let server = Daemon::start(command.args(["--dh", "none", "--duplicate-cn", "--keepalive", "1", "60"]));
    wait_until("the OpenVPN server is bound", Duration::from_secs(20), || has_udp(netns, port));
    server
}

/// A host with a tunnel to the service; dropping it ends its `OpenVPN` before its namespace.
struct Client {
    _openvpn: Daemon,
    netns: Netns,
}

impl Client {
    /// Joins a new host to the server by a wire of this number, and starts its `OpenVPN` there.
    fn start(server: &Netns, folder: &Path, wire: u8, family: Family) -> Self {
        let netns = Netns::new("vpn");
        connect(server, &netns, wire);
        let mut command = openvpn(&netns, folder, &format!("client-{wire}"));
        let protocol = if family == Family::V4 { "udp4" } else { "udp6" };
        let to = family.host(wire, 1).to_string();
        command.args(["--client", "--nobind", "--dev", "tun0", "--connect-retry", "1"]);
        let openvpn = Daemon::start(command.args(["--remote", &to, &VPN.to_string(), protocol]));
        Self { _openvpn: openvpn, netns }
    }

    /// Its address in the tunnel, once it has one.
    fn address(&self) -> Option<IpAddr> {
        let shown = output(self.netns.command("ip").args(["-4", "-o", "address", "show", "dev", "tun0"]));
        let text = String::from_utf8_lossy(&shown.stdout).into_owned();
        let mut words = text.split_whitespace().skip_while(|word| *word != "inet");
        words.nth(1)?.split('/').next()?.parse().ok()
    }
}

/// The server's end of the tunnel that has this address.
fn server_of(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let [a, b, network, _] = address.octets();
            [a, b, network, 1].into()
        }
        IpAddr::V6(_) => address,
    }
}

engines! { openvpn_clients_keep_their_server_while_the_set_changes: ebpf }
fn openvpn_clients_keep_their_server_while_the_set_changes(engine: Engine) {
    for program in ["openvpn", "openssl"] {
        need!(tool(program));
    }
    need!(tunnels());
    let host = Host::new(engine);
    let folder = certificate();
    let server = &host.lan.server;
    let mut servers: Vec<Daemon> =
        ALL[..2].iter().map(|port| start_server(server, folder.path(), *port)).collect();
    let _daemons =
        (Daemon::udp(server, [ECHO]), Daemon::python(server, ECHO), Daemon::udp(server, ALL.map(inner)));
    host.attach("vpn 1194/udp to 8001 8002 --policy round-robin");
    host.attach("dns 53/udp to 7001 7002 7003");
    let start = |wire: u8| Client::start(server, folder.path(), wire, Family::BOTH[usize::from(wire) % 2]);
    let clients: Vec<Client> = (11..15).map(start).collect();
    // The wires came after the services.
    host.wocut("weight dns 7001 2").ok();
    let mut tunnels: Vec<Tunnel<'_>> = clients.iter().map(Tunnel::open).collect();
    let begun = flows(&host);
    assert!(begun.iter().all(|flows| *flows > 0), "turns are taken: {begun:?}");

    servers.push(start_server(server, folder.path(), 8003));
    let changes = ["add vpn 8003", "weight vpn 8002 5", "drain vpn 8001", "maint vpn 8002", "ready vpn 8001"];
    for change in changes {
        host.wocut(change).ok();
        tunnels.iter_mut().for_each(Tunnel::stays);
    }
    host.wocut("drain vpn 8001").ok();
    let late: Vec<Client> = (15..17).map(start).collect();
    host.wocut("weight dns 7001 1").ok();
    for client in &late {
        let mut tunnel = Tunnel::open(client);
        assert_eq!(tunnel.address.to_string().rsplit('.').nth(1), Some("3"), "only 8003 takes new clients");
        tunnel.stays();
    }
    tunnels.iter_mut().for_each(Tunnel::stays);
    // Flows into a tunnel are served too, and its packets have no Ethernet header.
    for tunnel in &tunnels {
        let to = SocketAddr::new(server_of(tunnel.address), 53);
        udp::burst(&tunnel.client.netns, 10_000..10_060, to).no_failure().only(&ALL.map(inner));
        Flow::open(&tunnel.client.netns, 11_000, to).exchange(20_000, 20_000);
    }
}

/// The instance of the service within the tunnels.
fn inner(port: u16) -> u16 {
    port - 1000
}

/// Flows of each server.
fn flows(host: &Host) -> Vec<u64> {
    host.instances("vpn").values().filter_map(|instance| instance["connections"].as_u64()).collect()
}

/// What goes through a client's tunnel.
struct Tunnel<'a> {
    client: &'a Client,
    address: IpAddr,
    held: Held,
    flow: Flow,
}

impl<'a> Tunnel<'a> {
    /// Waits for the tunnel, and opens a connection and a flow through it.
    fn open(client: &'a Client) -> Self {
        let address = wait_for("OpenVPN connects", Duration::from_secs(30), || client.address());
        let to = SocketAddr::new(server_of(address), ECHO);
        // The client has its address a moment before it has its peer.
        let answers = || udp::burst(&client.netns, 9000..9001, to).failures.is_empty();
        wait_until("the tunnel carries something", Duration::from_secs(30), answers);
        let (held, flow) = (Held::open(&client.netns, to), Flow::open(&client.netns, 9001, to));
        Self { client, address, held, flow }
    }

    /// Fails the test if anything is lost, or the tunnel is another one.
    #[track_caller]
    fn stays(&mut self) {
        for _ in 0..50 {
            self.flow.stays();
            self.held.alive();
        }
        self.flow.exchange(20_000, 20_000);
        burst(&self.client.netns, SocketAddr::new(server_of(self.address), ECHO), 20).no_failure();
        assert_eq!(self.client.address(), Some(self.address), "the session was begun again");
    }
}
