//! As many changes as one process can make, while clients connect and somebody reads the slot tables.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use aya::maps::{Array, Map, MapData};
use rustix::process::setpriority_process;
use wocut::host::Host as ThisHost;
use wocut::model::{Admin, Name, Weight};
use wocut::plan::{Change, shares};
use wocut_common::{Current, SLOTS, Table, TableId, maps};
use wocut_tests::daemon::Daemon;
use wocut_tests::emulated::times;
use wocut_tests::engine::Engine;
use wocut_tests::engines;
use wocut_tests::figures::note;
use wocut_tests::host::Host;
use wocut_tests::must::Must as _;
use wocut_tests::random::Random;

/// One that is always there and ready, and others that come and go.
const STAYS: u16 = 8001;
const OTHERS: [u16; 7] = [8002, 8003, 8004, 8005, 8006, 8007, 8008];
/// So long, at this rate or a higher one.
const LENGTH: Duration = Duration::from_secs(20);
const A_SECOND: u64 = 200;

/// A change of weight, state or members that can be made whatever was changed before.
fn change(random: &mut Random, present: &mut BTreeSet<u16>) -> Change {
    let web: Name = "web".parse().must("make a name");
    let port = random.pick(&OTHERS);
    let instance: Name = port.to_string().parse().must("make a name");
    if present.insert(port) {
        return Change::Add(
            web,
            vec![format!("{port}*{}", 1 + random.below(8)).parse().must("make an instance")],
        );
    }
    match random.below(8) {
        0 | 1 => {
            present.remove(&port);
            Change::Remove(web, vec![instance])
        }
        2 => Change::Admin(web, instance, Admin::Drain),
        3 => Change::Admin(web, instance, Admin::Maint),
        4 => Change::Admin(web, instance, Admin::Ready),
        _ => {
            let weight = u16::try_from(random.below(10)).must("make a weight");
            Change::Weight(web, instance, Weight::try_from(weight).must("make a weight"))
        }
    }
}

/// Makes changes, ahead of the clients that fill every processor; gives how many a second.
fn drive(random: &mut Random) -> u64 {
    setpriority_process(None, -20).must("run ahead of the clients");
    let here = ThisHost::enter(None).must("open the server's namespace");
    let mut present = BTreeSet::new();
    let (start, mut changes) = (Instant::now(), 0);
    while start.elapsed() < LENGTH {
        here.change(false, false, |_, _| Ok(change(random, &mut present))).must("make a change");
        changes += 1;
    }
    changes / LENGTH.as_secs()
}

/// Reads the slot table of service 0 until told to stop; gives how many were read.
fn read_tables(pins: &Path, stop: &AtomicBool) -> u32 {
    let data = MapData::from_pin(pins.join(maps::CURRENT)).must("open the pinned map");
    let current: Array<MapData, Current> =
        Map::from_map_data(data).must("know the map").try_into().must("know the map's type");
    let current = || current.get(&0, 0).must("read which table is current").table;
    let mut read = 0;
    while !stop.load(Ordering::Relaxed) {
        let before = current();
        let Some(table) = read_table(pins, before) else { continue };
        // One that was replaced meanwhile may be written anew by now; a program has a grace period, a reader has not.
        if current() == before {
            is_whole(&table);
            read += 1;
        }
        thread::park_timeout(Duration::from_millis(1));
    }
    read
}

fn read_table(pins: &Path, current: TableId) -> Option<Table> {
    let data = MapData::from_pin(pins.join("tables").join(current.index().to_string())).ok()?;
    let table: Array<MapData, Table> = Map::from_map_data(data).ok()?.try_into().ok()?;
    Some(table.get(&0, 0).must("read a slot table"))
}

/// Fails the test unless a table is all of one plan.
fn is_whole(table: &Table) {
    let len = usize::try_from(table.len).must("count the members");
    let members: BTreeSet<u32> = table.members[..len].iter().copied().collect();
    assert!(len > 0 && members.len() == len, "{members:?} of {len}");
    let mut slots = vec![0; len];
    for &member in &table.slots {
        assert!(usize::from(member) < len, "member {member} of {len}");
        slots[usize::from(member)] += 1;
    }
    assert_eq!(slots, shares(&table.weights[..len]));
    assert_eq!(slots.iter().sum::<u32>() as usize, SLOTS);
}

engines! { many_changes_a_second_fail_no_connection: ebpf tc }
fn many_changes_a_second_fail_no_connection(engine: Engine) {
    let host = Host::new(engine);
    let _daemons = Daemon::pythons(&host.lan.server, OTHERS.into_iter().chain([STAYS]));
    host.attach("web 80/tcp to 8001");
    let load = host.load(4);
    let stop = AtomicBool::new(false);
    let mut random = Random::seeded();
    let pins = host.lan.server.pins();
    let (rate, read) = thread::scope(|scope| {
        let reader = scope.spawn(|| read_tables(&pins, &stop));
        let rate = host.lan.server.run(|| drive(&mut random));
        stop.store(true, Ordering::Relaxed);
        (rate, reader.join().must("read slot tables"))
    });
    let tally = load.stop();
    note(format_args!(
        "{engine:?}: {rate} changes a second; {read} tables read, {} connections",
        tally.answered_total()
    ));
    tally.no_failure();
    assert!(rate >= times(A_SECOND), "{rate} changes a second");
    assert!(read > 10, "{read} tables were read");
}
