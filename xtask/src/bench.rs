//! `cargo xtask bench`: what wocut costs, as a ratio against direct connections of the same run.
//!
//! One round is a second of clients that connect, send a byte, read a byte and close. Direct ones go to the
//! instances' own ports in turn, so that the same threads answer. Rounds of all paths take turns,
//! so that a busy moment of the machine hits them alike, and the medians of the rounds are compared.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::apt::{self, Program};
use crate::command;
use crate::lan::{self, Lan, SERVER};
use crate::say::say;
use crate::workspace::Workspace;

const PROGRAMS: [Program; 2] = [
    Program::new("ip", "iproute2", "network namespaces"),
    Program::new("iptables", "iptables", "the second engine"),
];

const ROUNDS: usize = 7;
const CLIENTS: usize = 4;
const INSTANCES: [u16; 8] = [8001, 8002, 8003, 8004, 8005, 8006, 8007, 8008];

/// One way to a server.
struct Path {
    name: &'static str,
    engine: Option<&'static str>,
    rates: Vec<f64>,
}

/// Runs the comparison, as root.
pub(crate) fn run(workspace: &Workspace) -> Result<()> {
    ensure!(rustix::process::geteuid().is_root(), "network namespaces take root");
    apt::ensure(workspace, &PROGRAMS)?;
    let wocut = workspace.program(&["build", "--locked", "--release", "--package", "wocut"], "wocut")?;
    let lan = Lan::make("bench")?;
    let wocut = |words: &[&str]| {
        command::output(std::process::Command::new(&wocut).args(["--netns", &lan.server, "-q"]).args(words))
    };
    let path = |name, engine| Path { name, engine, rates: Vec::new() };
    let mut paths = [path("direct", None), path("ebpf", Some("ebpf")), path("iptables", Some("iptables"))];
    reuse_ports(&lan.client)?;
    for listener in listen(&lan.server)? {
        // Ends with the process.
        thread::spawn(move || serve(&listener));
    }
    for _ in 0..ROUNDS {
        for path in &mut paths {
            let Some(engine) = path.engine else {
                path.rates.push(round(&lan.client, &INSTANCES)?);
                continue;
            };
            let ports = INSTANCES.map(|port| port.to_string());
            let attach = ["--engine", engine, "attach", "bench", "80/tcp", "to"];
            let words: Vec<&str> = attach.into_iter().chain(ports.iter().map(String::as_str)).collect();
            wocut(&words)?;
            let rate = round(&lan.client, &[80]);
            wocut(&["detach", "--all"])?;
            path.rates.push(rate?);
        }
    }
    report(&mut paths);
    Ok(())
}

/// Lets clients use a port again a second after its connection has ended.
fn reuse_ports(netns: &str) -> Result<()> {
    thread::scope(|scope| {
        let tuner = scope.spawn(|| {
            lan::enter(netns)?;
            fs::write("/proc/sys/net/ipv4/tcp_tw_reuse", "1").context("set tcp_tw_reuse")?;
            fs::write("/proc/sys/net/ipv4/ip_local_port_range", "1024 65535")
                .context("set ip_local_port_range")
        });
        tuner.join().ok().context("the thread that tunes ended early")?
    })
}

/// Listeners in the servers' namespace, which a thread of its own has to enter.
fn listen(netns: &str) -> Result<Vec<TcpListener>> {
    thread::scope(|scope| {
        let maker = scope.spawn(|| {
            lan::enter(netns)?;
            INSTANCES.into_iter().map(|port| Ok(TcpListener::bind((SERVER, port))?)).collect()
        });
        maker.join().ok().context("the thread that listens ended early")?
    })
}

/// Answers a byte with a byte.
fn serve(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        // A client that has gone is no concern of the server.
        let _gone = answer(stream);
    }
}

fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    stream.write_all(&byte)?;
    // The client closes first, so that the server keeps no TIME_WAIT.
    stream.read(&mut byte).map(drop)
}

/// Connections a second, by all clients together.
fn round(netns: &str, ports: &[u16]) -> Result<f64> {
    let start = Instant::now();
    let counts = thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(|| client(netns, ports))).collect();
        let join = |client: thread::ScopedJoinHandle<'_, Result<u32>>| {
            client.join().ok().context("a client ended early")?
        };
        clients.into_iter().map(join).collect::<Result<Vec<_>>>()
    })?;
    Ok(f64::from(counts.iter().sum::<u32>()) / start.elapsed().as_secs_f64())
}

fn client(netns: &str, ports: &[u16]) -> Result<u32> {
    lan::enter(netns)?;
    let end = Instant::now() + Duration::from_secs(1);
    let mut done = 0;
    for &port in ports.iter().cycle() {
        if Instant::now() >= end {
            break;
        }
        let mut stream = TcpStream::connect(SocketAddr::from((SERVER, port))).context("connect")?;
        stream.write_all(b"x")?;
        stream.read_exact(&mut [0])?;
        done += 1;
    }
    Ok(done)
}

fn report(paths: &mut [Path]) {
    let direct = median(&mut paths[0].rates);
    say(format_args!("\n{CLIENTS} clients, {} instances, median of {ROUNDS} rounds:", INSTANCES.len()));
    for path in paths {
        let rate = median(&mut path.rates);
        say(format_args!("  {:<10} {rate:>8.0} connections/s  {:>5.1} %", path.name, 100.0 * rate / direct));
    }
}

fn median(rates: &mut [f64]) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(0.0)
}
