//! `status`, with all that can be said of a service.

use insta::assert_snapshot;

use super::{coloured, json, text};
use crate::{
    cli::{
        status::show,
        top::fixture::{service, status},
    },
    model::{Admin, EngineKind, Health, OnEmpty, Policy},
    status::{ServiceStatus, Status},
};

/// An instance of each kind.
fn every_kind() -> ServiceStatus {
    let names = ["up", "unknown", "down", "absent", "queue", "warm", "refused", "spare", "drain", "maint"];
    let mut web = service("web", &names.map(|name| (name, 10)));
    web.listen.push("[2001:db8::1]:443/tcp".parse().unwrap());
    let [up, _, down, absent, queue, warm, refused, spare, drain, maint] = &mut web.instances[..] else {
        panic!("there are ten")
    };
    (up.health, up.address) = (Health::Up, Some("127.0.0.1".parse().unwrap()));
    (up.active, up.received_bytes, up.sent_bytes) = (Some(3), Some(1_234_567), Some(98_765_432_100));
    (down.health, down.address) = (Health::Down, Some("2001:db8::7".parse().unwrap()));
    (absent.listening, absent.failovers, absent.accept_queue) = (Some(false), Some(7), None);
    (queue.accept_queue, queue.weight, queue.share) = (Some(4096), 256, 1.0 / 3.0);
    (warm.throttle, warm.health) = (Some(40), Health::Up);
    refused.refused = Some("it is bound to a device".into());
    spare.backup = true;
    drain.admin = Admin::Drain;
    (maint.admin, maint.health, maint.backup) = (Admin::Maint, Health::Down, true);
    web
}

/// What rules cannot know.
fn of_rules() -> ServiceStatus {
    let mut dns = service("dns", &[("5301", 0)]);
    (dns.engine, dns.hook, dns.policy) = (EngineKind::Iptables, None, Policy::Sticky);
    (dns.picks, dns.unserved, dns.on_empty) = (None, None, OnEmpty::Drop);
    (dns.sticky_prefix, dns.guard) = (Some("24,56".parse().unwrap()), true);
    dns.degraded = Some("a pick goes to one that does not listen".into());
    let instance = &mut dns.instances[0];
    (instance.listening, instance.picked, instance.failovers, instance.active) = (None, None, None, None);
    (instance.connections, instance.received_bytes) = (None, None);
    (instance.sent_bytes, instance.accept_queue) = (None, None);
    dns
}

fn all() -> Status {
    let reason = Some("bpf(2) is refused: Operation not permitted (os error 1)".into());
    Status { engine_reason: reason, ..status(vec![every_kind(), of_rules(), service("empty", &[])]) }
}

#[test]
fn nothing_is_attached() {
    assert_snapshot!(text(|printer| show(printer, &status(vec![]))), @"nothing is attached");
    assert_snapshot!(json(|printer| show(printer, &status(vec![]))), @r#"{"schema":1,"engine_reason":null,"services":[]}"#);
}

#[test]
fn every_kind_of_instance_and_of_engine() {
    assert_snapshot!(text(|printer| show(printer, &all())), @"
    not on ebpf: bpf(2) is refused: Operation not permitted (os error 1)
    web  80/tcp [2001:db8::1]:443/tcp  engine ebpf/sk_lookup  policy random  picks 100  unserved 0
      INSTANCE  PLACE               WEIGHT  ADMIN   HEALTH   LISTENS  SHARE  PICKED  FAILOVERS  ACTIVE  TOTAL  RECEIVED         SENT  QUEUE
      up        127.0.0.1:8001           1  ready   up       yes      25.0%      10          0       3     10   1234567  98765432100      0
      unknown   8001                     1  ready   unknown  yes      25.0%      10          0       0     10         0            0      0
      down      [2001:db8::7]:8001       1  ready   down     yes      25.0%      10          0       0     10         0            0      0
      absent    8001                     1  ready   unknown  no       25.0%      10          7       0     10         0            0      -
      queue     8001                   256  ready   unknown  yes      33.3%      10          0       0     10         0            0   4096
      warm      8001                     1  ready   up 40%   yes      25.0%      10          0       0     10         0            0      0
      refused   8001                     1  ready   unknown  yes      25.0%      10          0       0     10         0            0      0
      spare     8001                     1  backup  unknown  yes      25.0%      10          0       0     10         0            0      0
      drain     8001                     1  drain   unknown  yes      25.0%      10          0       0     10         0            0      0
      maint     8001                     1  maint   down     yes      25.0%      10          0       0     10         0            0      0
      refused gets no connections: it is bound to a device
    dns  80/tcp  engine iptables  policy sticky  picks -  unserved -
      INSTANCE  PLACE  WEIGHT  ADMIN  HEALTH   LISTENS  SHARE  PICKED  FAILOVERS  ACTIVE  TOTAL  RECEIVED  SENT  QUEUE
      5301      8001        1  ready  unknown  -        25.0%       -          -       -      -         -     -      -
    empty  80/tcp  engine ebpf/sk_lookup  policy random  picks 0  unserved 0
      INSTANCE  PLACE  WEIGHT  ADMIN  HEALTH  LISTENS  SHARE  PICKED  FAILOVERS  ACTIVE  TOTAL  RECEIVED  SENT  QUEUE
    ");
}

#[test]
fn who_is_out_of_use_has_a_colour() {
    assert_snapshot!(coloured(|printer| show(printer, &status(vec![every_kind()]))), @"
    web  80/tcp [2001:db8::1]:443/tcp  engine ebpf/sk_lookup  policy random  picks 100  unserved 0
      INSTANCE  PLACE               WEIGHT  ADMIN   HEALTH   LISTENS  SHARE  PICKED  FAILOVERS  ACTIVE  TOTAL  RECEIVED         SENT  QUEUE
      up        127.0.0.1:8001           1  ready   up       yes      25.0%      10          0       3     10   1234567  98765432100      0
      unknown   8001                     1  ready   unknown  yes      25.0%      10          0       0     10         0            0      0
    ^[[31m  down      [2001:db8::7]:8001       1  ready   down     yes      25.0%      10          0       0     10         0            0      0^[[0m
    ^[[31m  absent    8001                     1  ready   unknown  no       25.0%      10          7       0     10         0            0      -^[[0m
      queue     8001                   256  ready   unknown  yes      33.3%      10          0       0     10         0            0   4096
      warm      8001                     1  ready   up 40%   yes      25.0%      10          0       0     10         0            0      0
    ^[[31m  refused   8001                     1  ready   unknown  yes      25.0%      10          0       0     10         0            0      0^[[0m
      spare     8001                     1  backup  unknown  yes      25.0%      10          0       0     10         0            0      0
    ^[[33m  drain     8001                     1  drain   unknown  yes      25.0%      10          0       0     10         0            0      0^[[0m
    ^[[33m  maint     8001                     1  maint   down     yes      25.0%      10          0       0     10         0            0      0^[[0m
      refused gets no connections: it is bound to a device
    ");
}

#[test]
fn every_field_of_the_contract() {
    assert_snapshot!(json(|printer| show(printer, &status(vec![of_rules()]))), @r#"{"schema":1,"engine_reason":null,"services":[{"name":"dns","engine":"iptables","hook":null,"listen":["80/tcp"],"policy":"sticky","sticky_prefix":"24,56","degraded":"a pick goes to one that does not listen","guard":true,"on_empty":"drop","picks":null,"unserved":null,"instances":[{"name":"5301","address":null,"port":8001,"weight":1,"admin":"ready","health":"unknown","listening":null,"backup":false,"throttle":null,"share":0.25,"picked":null,"failovers":null,"active":null,"connections":null,"received_bytes":null,"sent_bytes":null,"accept_queue":null,"refused":null,"picked_before":0}]}]}"#);
    let mut web = every_kind();
    web.instances.drain(..5);
    web.instances.truncate(2);
    assert_snapshot!(json(|printer| show(printer, &status(vec![web]))), @r#"{"schema":1,"engine_reason":null,"services":[{"name":"web","engine":"ebpf","hook":"sk_lookup","listen":["80/tcp","[2001:db8::1]:443/tcp"],"policy":"random","sticky_prefix":null,"degraded":null,"guard":false,"on_empty":"pass","picks":100,"unserved":0,"instances":[{"name":"warm","address":null,"port":8001,"weight":1,"admin":"ready","health":"up","listening":true,"backup":false,"throttle":40,"share":0.25,"picked":10,"failovers":0,"active":0,"connections":10,"received_bytes":0,"sent_bytes":0,"accept_queue":0,"refused":null,"picked_before":0},{"name":"refused","address":null,"port":8001,"weight":1,"admin":"ready","health":"unknown","listening":true,"backup":false,"throttle":null,"share":0.25,"picked":10,"failovers":0,"active":0,"connections":10,"received_bytes":0,"sent_bytes":0,"accept_queue":0,"refused":"it is bound to a device","picked_before":0}]}]}"#);
}
