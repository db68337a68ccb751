//! The programs that see every packet, run on packets of all kinds, and on what is none.

use std::net::IpAddr;

use aya::TestRun as _;
use aya::programs::{SchedClassifier, TestRunOptions};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::TestRunner;
use wocut_tests::daemon::Daemon;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::frames::{Checksum, ETHERNET, Frame, ICMP, ICMPV6, TCP, UDP, datagram_at, pseudo, sum};
use wocut_tests::host::Host;
use wocut_tests::must::Must as _;

const INSTANCES: [u16; 2] = [8001, 8002];
const DNS: u16 = 53;
/// `TC_ACT_UNSPEC` and `TC_ACT_SHOT`.
const ACTIONS: [u32; 2] = [u32::MAX, 2];
/// Packets that each property is tried on.
const CASES: u32 = 1500;

/// The two programs, as they are pinned.
struct Programs {
    ingress: SchedClassifier,
    egress: SchedClassifier,
}

impl Programs {
    fn open(host: &Host) -> Self {
        let open = |name| SchedClassifier::from_pin(host.lan.server.pins().join(name)).must(name);
        Self { ingress: open("wocut_ingress"), egress: open("wocut_egress") }
    }
}

/// Runs a program on a frame, and gives what it answers and leaves of the frame.
fn run(program: &SchedClassifier, frame: &[u8]) -> Result<(u32, Vec<u8>), TestCaseError> {
    let mut out = vec![0; frame.len() + 256];
    let options = TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::new() };
    let result = match program.test_run(options) {
        // Some kernels take none that ends before the header of its protocol does.
        Err(_) if frame.len() < ETHERNET + header(frame) => return Ok((ACTIONS[0], frame.to_vec())),
        other => other.map_err(|error| TestCaseError::fail(format!("{} bytes: {error:?}", frame.len())))?,
    };
    out.truncate(usize::try_from(result.data_size_out).unwrap_or_default());
    Ok((result.return_value, out))
}

/// The least length of an IPv4 or IPv6 header.
fn header(frame: &[u8]) -> usize {
    if frame[12..ETHERNET] == [0x08, 0x00] { 20 } else { 40 }
}

/// A field of two bytes.
fn field(frame: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([frame[at], frame[at + 1]])
}

/// Checks that a program changed nothing but one port of a datagram, and its checksum so that it holds as it did.
/// Returns the port that it wrote.
fn check(program: &SchedClassifier, frame: &[u8], port_at: usize) -> Result<Option<u16>, TestCaseError> {
    let (action, out) = run(program, frame)?;
    prop_assert!(ACTIONS.contains(&action), "answers {}", action);
    prop_assert_eq!(out.len(), frame.len());
    if out == frame {
        return Ok(None);
    }
    let at = datagram_at(frame);
    prop_assert!(at.is_some(), "this is no datagram, and was changed to {:x?}", out);
    let at = at.unwrap_or_default();
    let may_change = [at + port_at, at + port_at + 1, at + 6, at + 7];
    let changed: Vec<usize> = (0..frame.len()).filter(|n| frame[*n] != out[*n]).collect();
    prop_assert!(changed.iter().all(|n| may_change.contains(n)), "changed {:?}", changed);
    let checksums = [field(frame, at + 6), field(&out, at + 6)];
    if checksums[0] == 0 {
        prop_assert_eq!(checksums[1], 0, "there was no checksum");
    } else {
        prop_assert_ne!(checksums[1], 0, "there was a checksum");
        // Whether it was right or not, it is off by as much.
        let off = |bytes: &[u8]| sum(&[&bytes[at..at + 8]]) % 0xffff;
        prop_assert_eq!(off(frame), off(&out));
    }
    Ok(Some(field(&out, at + port_at)))
}

fn address(family: bool) -> impl Strategy<Value = (IpAddr, IpAddr)> {
    // The client's address, and that of the server where the service is.
    (1u8..255).prop_map(move |n| {
        if family {
            ([10, 1, 0, n].into(), [10, 1, 0, 1].into())
        } else {
            ([0xfd00, 1, 0, 0, 0, 0, 0, u16::from(n)].into(), [0xfd00, 1, 0, 0, 0, 0, 0, 1].into())
        }
    })
}

prop_compose! {
    fn frames()(
        ends in any::<bool>().prop_flat_map(address),
        ports in (any::<u16>(), prop_oneof![3 => Just(DNS), 1 => select(&[80, 8001, 8002][..]), 1 => any::<u16>()]),
        protocol in prop_oneof![3 => Just(UDP), 1 => Just(TCP), 1 => any::<u8>()],
        flags in any::<u8>(),
        options in prop_oneof![2 => Just(0u8), 1 => 0..=10u8],
        extensions in vec((select(&[0u8, 43, 60][..]), 0..3u8), 0..4),
        fragment in prop_oneof![2 => Just(None), 1 => any::<bool>().prop_map(|more| Some((0, more))),
            1 => (0..0x1fffu16, any::<bool>()).prop_map(Some)],
        checksum in prop_oneof![2 => Just(Checksum::Right), 1 => Just(Checksum::None),
            1 => any::<u16>().prop_map(Checksum::Some)],
        payload in vec(any::<u8>(), 0..200),
    ) -> Frame {
        Frame { from: (ends.0, ports.0), to: (ends.1, ports.1), protocol, flags, options, extensions, fragment,
            checksum, payload }
    }
}

/// Bytes that are written over others, and where the frame is cut off.
fn mutations() -> impl Strategy<Value = (Vec<(Index, u8)>, Option<Index>)> {
    (vec((any::<Index>(), any::<u8>()), 0..4), proptest::option::weighted(0.3, any::<Index>()))
}

/// No kernel takes a frame for a test that has nothing after its Ethernet header.
const LEAST: usize = ETHERNET + 1;

/// Tries a property inside the server's namespace, where the programs look sockets up.
fn tries<S: Strategy + Sync>(
    host: &Host,
    strategy: &S,
    property: impl Fn(&Programs, S::Value) -> Result<(), TestCaseError> + Send,
) {
    let programs = Programs::open(host);
    host.lan.server.run(move || {
        let config = ProptestConfig { cases: CASES, failure_persistence: None, ..ProptestConfig::default() };
        let outcome = TestRunner::new(config).run(strategy, |value| property(&programs, value));
        outcome.map_err(|error| error.to_string()).must("hold for every packet");
    });
}

/// A server with a service for datagrams and one for connections, both on the programs that see packets.
fn host(engine: Engine) -> (Host, [Vec<Daemon>; 2]) {
    let host = Host::new(engine);
    let daemons = [Daemon::udp(&host.lan.server, INSTANCES), Daemon::pythons(&host.lan.server, INSTANCES)];
    host.attach("dns 53/udp to 8001 8002 --guard");
    host.attach("web 80/tcp to 8001 8002 --hook tc");
    (host, daemons)
}

engines! { anything_at_all_is_left_as_it_is_or_has_its_port_written: ebpf }
fn anything_at_all_is_left_as_it_is_or_has_its_port_written(engine: Engine) {
    let (host, _daemons) = host(engine);
    tries(&host, &vec(any::<u8>(), LEAST..300), |programs, mut frame| {
        // Of all types, those that are parsed.
        let kind: [u8; 2] = if frame[0] & 1 == 0 { [0x08, 0x00] } else { [0x86, 0xdd] };
        frame[..12].fill(0);
        frame[12..ETHERNET].copy_from_slice(&kind);
        check(&programs.ingress, &frame, 2)?;
        check(&programs.egress, &frame, 0)?;
        Ok(())
    });
}

engines! { damaged_packets_are_left_as_they_are_or_have_their_port_written: ebpf }
fn damaged_packets_are_left_as_they_are_or_have_their_port_written(engine: Engine) {
    let (host, _daemons) = host(engine);
    tries(&host, &(frames(), mutations()), |programs, (frame, (writes, cut))| {
        let mut bytes = frame.bytes();
        for (at, byte) in writes {
            let at = at.index(bytes.len() - ETHERNET) + ETHERNET;
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(LEAST + cut.index(bytes.len() - LEAST));
        }
        check(&programs.ingress, &bytes, 2)?;
        check(&programs.egress, &bytes, 0)?;
        Ok(())
    });
}

engines! { every_datagram_to_the_service_is_given_away_and_its_reply_comes_back: ebpf }
fn every_datagram_to_the_service_is_given_away_and_its_reply_comes_back(engine: Engine) {
    let (host, _daemons) = host(engine);
    tries(&host, &frames(), |programs, frame| {
        let frame = Frame { protocol: UDP, to: (frame.to.0, DNS), ..frame };
        let written = check(&programs.ingress, &frame.bytes(), 2)?;
        if frame.fragment.is_some_and(|(offset, _)| offset != 0) {
            prop_assert_eq!(written, None, "it has no ports");
            return Ok(());
        }
        let port = written.unwrap_or_default();
        prop_assert!(INSTANCES.contains(&port), "sent to {}", port);
        let sent = Frame { to: (frame.to.0, port), ..frame.clone() };
        if matches!(frame.checksum, Checksum::Right) {
            // As if it had been made for that port: there is one right checksum, and its other way to be zero.
            let (_, out) = run(&programs.ingress, &frame.bytes())?;
            let at = datagram_at(&out).unwrap_or_default();
            let covered = pseudo(frame.from.0, frame.to.0, UDP, out.len() - at);
            prop_assert_eq!(sum(&[&covered, &out[at..]]), 0xffff, "not {:x?}", sent.bytes());
        }
        let reply = Frame { from: (frame.to.0, port), to: frame.from, ..frame.clone() };
        prop_assert_eq!(check(&programs.egress, &reply.bytes(), 0)?, Some(DNS));
        // Another client's is not of this flow.
        let (from, to) = (reply.from, (frame.from.0, frame.from.1 ^ 1));
        let other = Frame { from, to, ..reply };
        let before = check(&programs.egress, &other.bytes(), 0)?;
        prop_assert!(before.is_none_or(|port| port == DNS), "{:?}", before);
        Ok(())
    });
}

engines! { segments_are_never_written: ebpf }
fn segments_are_never_written(engine: Engine) {
    let (host, _daemons) = host(engine);
    tries(&host, &frames(), |programs, frame| {
        let frame = Frame { protocol: TCP, to: (frame.to.0, 80), ..frame };
        prop_assert_eq!(check(&programs.ingress, &frame.bytes(), 2)?, None);
        prop_assert_eq!(check(&programs.egress, &frame.bytes(), 0)?, None);
        Ok(())
    });
}

engines! { errors_about_a_reply_are_about_the_instances_and_have_nothing_else_written: ebpf }
fn errors_about_a_reply_are_about_the_instances_and_have_nothing_else_written(engine: Engine) {
    let (host, _daemons) = host(engine);
    let strategy = (frames(), any::<Index>(), any::<bool>(), 0..16u8);
    tries(&host, &strategy, |programs, (frame, cut, is_whole, kind)| {
        let frame = Frame { protocol: UDP, to: (frame.to.0, DNS), fragment: None, ..frame };
        let port = check(&programs.ingress, &frame.bytes(), 2)?.unwrap_or_default();
        let mut reply = Frame { from: frame.to, to: frame.from, ..frame.clone() }.bytes().split_off(ETHERNET);
        if !is_whole {
            reply.truncate(cut.index(reply.len()));
        }
        let payload = [&[kind, 0, 0, 0, 0, 0, 5, 20], &reply[..]].concat();
        let (protocol, is_error) = match frame.from.0 {
            IpAddr::V4(_) => (ICMP, [3, 11, 12].contains(&kind)),
            IpAddr::V6(_) => (ICMPV6, (1..=4).contains(&kind)),
        };
        let error = Frame { protocol, extensions: Vec::new(), payload, ..frame.clone() };
        let (bytes, message) = (error.bytes(), error.payload.len());
        let (_, out) = run(&programs.ingress, &bytes)?;
        prop_assert_eq!(out.len(), bytes.len());
        let at = bytes.len() - message;
        // The first header of the reply, as if it had a frame of its own.
        let framed = [&bytes[..ETHERNET], &reply[..]].concat();
        let Some(inner) = datagram_at(&framed).filter(|_| is_error) else {
            // Cut off behind its ports, it may still be known.
            let changed = out != bytes && !(is_error && reply.len() >= 24);
            prop_assert!(!changed, "no error about a reply, and was changed");
            return Ok(());
        };
        let source = at + 8 + inner - ETHERNET;
        let may_change = [at + 2, at + 3, source, source + 1];
        let changed: Vec<usize> = (0..bytes.len()).filter(|n| bytes[*n] != out[*n]).collect();
        prop_assert!(changed.iter().all(|n| may_change.contains(n)), "changed {:?}", changed);
        prop_assert_eq!(field(&out, source), port);
        let covered = match protocol {
            ICMP => Vec::new(),
            _ => pseudo(error.from.0, error.to.0, protocol, message),
        };
        prop_assert_eq!(sum(&[&covered, &out[at..]]), 0xffff, "the checksum does not hold");
        Ok(())
    });
}
