use std::{collections::BTreeSet, net::Ipv4Addr};

use super::page;
use crate::{
    daemon::{Checked, EventCounts},
    engine::{ObservedInstance, ObservedService},
    model::{Check, CheckKind, EngineKind, Options, Wanted},
    plan::Change,
    status::Status,
    sys::listeners::Listener,
};

fn wanted() -> Wanted {
    let mut wanted = Wanted::empty(None);
    let change = Change::Attach {
        name: "web".parse().unwrap(),
        listen: vec!["80/tcp".parse().unwrap()],
        instances: vec!["a=8001*3".parse().unwrap(), "b=8002".parse().unwrap()],
        options: Options::default(),
        engine: EngineKind::Ebpf,
        engine_reason: None,
        force: false,
    };
    change.apply(&mut wanted).unwrap();
    wanted.services.get_mut("web").unwrap().check = Some(Check::of(CheckKind::Tcp));
    wanted
}

fn read(instance: &ObservedInstance) -> String {
    let wanted = wanted();
    let seen = ObservedService {
        hook: None,
        picks: instance.picked,
        unserved: instance.picked,
        instances: vec![instance.clone(), instance.clone()],
    };
    let (address, accept_queue) = (Ipv4Addr::UNSPECIFIED.into(), 7);
    let listener =
        Listener { address, port: 8001, v6_only: false, bound_to_device: false, accept_queue, inode: 0 };
    let status = Status::of(&wanted, vec![seen], Some(&[listener]));
    page(&wanted, &status, &EventCounts::from([("failed", 3)]), |id| Checked { good: u64::from(id), bad: 0 })
}

fn known() -> ObservedInstance {
    let some = Some(7);
    ObservedInstance {
        picked: some,
        failovers: some,
        active: some,
        connections: some,
        received_bytes: some,
        sent_bytes: some,
        refused: None,
    }
}

/// What `promtool check metrics` looks at.
#[test]
fn names_follow_the_conventions() {
    let page = read(&known());
    let mut seen = BTreeSet::new();
    let mut lines = page.lines().peekable();
    while let Some(help) = lines.next() {
        let (name, text) = help.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
        let kind = lines.next().unwrap().strip_prefix(&format!("# TYPE {name} ")).unwrap();
        assert!(seen.insert(name), "{name} is there twice");
        assert!(name.starts_with("wocut_") && text.ends_with('.'));
        assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
        let mut samples = 0;
        while lines.next_if(|line| !line.starts_with('#')).is_some() {
            samples += 1;
        }
        assert!(samples > 0, "{name} has no figure");
    }
    assert_eq!(seen.len(), 18);
}

#[test]
fn figures_are_those_of_the_kernel() {
    let page = read(&known());
    for line in [
        "wocut_events_total{event=\"failed\"} 3",
        "wocut_service_info{service=\"web\",engine=\"ebpf\",policy=\"random\",fallback=\"no\"} 1",
        "wocut_picks_total{service=\"web\"} 7",
        "wocut_instance_sent_bytes_total{service=\"web\",instance=\"b\"} 7",
        "wocut_instance_share_ratio{service=\"web\",instance=\"a\"} 0.75",
        "wocut_instance_ready{service=\"web\",instance=\"b\"} 1",
        "wocut_instance_up{service=\"web\",instance=\"a\"} 1",
        "wocut_instance_up{service=\"web\",instance=\"b\"} 0",
        "wocut_instance_accept_queue{service=\"web\",instance=\"a\"} 7",
        "wocut_instance_checks_total{service=\"web\",instance=\"b\",result=\"good\"} 2",
    ] {
        assert!(page.lines().any(|found| found == line), "{line}\n{page}");
    }
}

#[test]
fn what_is_unknown_has_no_line() {
    let page = read(&ObservedInstance::default());
    for name in ["wocut_picks_total", "wocut_instance_picked_total", "wocut_instance_active_connections"] {
        assert!(!page.contains(name), "{name}");
    }
    assert!(page.contains("wocut_instance_weight"));
}

#[test]
fn dashboard_and_alerts_name_metrics_that_there_are() {
    let page = read(&known());
    let names: BTreeSet<&str> =
        page.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    for text in [include_str!("../../dist/grafana.json"), include_str!("../../dist/alerts.yml")] {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let asked: BTreeSet<&str> = words.filter(|word| word.starts_with("wocut_")).collect();
        assert!(asked.len() > 4 && asked.is_subset(&names), "{:?}", asked.difference(&names));
    }
    let docs = include_str!("../../docs/metrics.md");
    assert!(names.iter().all(|name| docs.contains(&format!("`{name}`"))));
}
