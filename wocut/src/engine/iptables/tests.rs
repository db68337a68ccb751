//! What the rooms of this engine do together, on tables that are only text.

use std::collections::BTreeMap;

use insta::assert_snapshot;
use proptest::prelude::*;

use super::{chain, family::Family, observe, rule, save::Saved};
use crate::model::{Admin, EngineKind, Instance, Name, OnEmpty, Options, Policy, Service};

pub(super) fn service(listen: &[&str], instances: &[&str]) -> Service {
    let instance = |(id, text): (u32, &&str)| Instance {
        admin: if text.ends_with('!') { Admin::Drain } else { Admin::Ready },
        ..Instance::new(id, text.trim_end_matches('!').parse().unwrap())
    };
    Service {
        index: 0,
        engine: EngineKind::Iptables,
        engine_reason: None,
        description: None,
        listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
        options: Options::default(),
        check: None,
        instances: (1..).zip(instances).map(instance).collect(),
    }
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn input(family: Family, saved: &Saved, services: &[(&Name, &Service)]) -> String {
    let input = super::input(family, saved, services).unwrap();
    input.first + &input.last
}

/// Tables as the kernel holds them, with its rules for changing them.
#[derive(Clone, Debug, Default, PartialEq)]
struct Tables(BTreeMap<String, BTreeMap<String, Vec<(u64, String)>>>);

impl Tables {
    /// With rules of somebody else's.
    fn foreign() -> Self {
        let mut tables = Self::default();
        for table in ["mangle", "nat", "filter"] {
            let chains = tables.0.entry(table.into()).or_default();
            for hook in ["PREROUTING", "OUTPUT", "INPUT"] {
                let rule = format!("-p tcp -m comment --comment \"{table} -j WOCUT\" -j ACCEPT");
                chains.insert(hook.into(), vec![(5, rule)]);
            }
            chains.insert("WOCUTTER".into(), vec![(6, "-j ACCEPT".into())]);
        }
        tables
    }

    /// As `iptables-restore --noflush` would; what it would refuse is a panic.
    fn restore(&mut self, input: &str) {
        let mut table = String::new();
        for line in input.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = name.into();
            } else if line != "COMMIT" {
                self.line(&table, line);
            }
        }
    }

    fn line(&mut self, table: &str, line: &str) {
        let chains = self.0.get_mut(table).unwrap();
        if let Some(declared) = line.strip_prefix(':') {
            chains.insert(declared.strip_suffix(" - [0:0]").unwrap().into(), Vec::new());
            return;
        }
        let (verb, rest) = line.split_once(' ').unwrap();
        let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
        let words = rule::words(text);
        if let Some(target) = rule::target(&words).filter(|target| chain::is_own(target)) {
            assert!(chains.contains_key(target), "{line}: no such chain");
        }
        let is_leading_here = |(_, text): &(u64, String)| rule::target(&rule::words(text)) == Some(name);
        let is_used = verb == "-X" && chains.values().flatten().any(is_leading_here);
        let rules = chains.get_mut(name).unwrap_or_else(|| panic!("{line}: no such chain"));
        match verb {
            "-A" => rules.push((0, text.into())),
            "-I" => rules.insert(0, (0, text.into())),
            "-D" => drop(rules.remove(rules.iter().position(|rule| rule.1 == text).unwrap())),
            "-F" => rules.clear(),
            "-X" => {
                assert!(rules.is_empty() && !is_used, "{line}: in use");
                chains.remove(name);
            }
            _ => panic!("{line}"),
        }
    }

    fn save(&self) -> Saved {
        let mut text = String::new();
        for (table, chains) in &self.0 {
            text.extend(["*", table, "\n"]);
            for (chain, rules) in chains {
                text.extend([":", chain, " - [0:0]\n"]);
                for (packets, rule) in rules {
                    text.extend([format!("[{packets}:0] -A {chain} {rule}\n")]);
                }
            }
        }
        Saved::parse(&text)
    }

    /// Counts a connection on every rule.
    fn count(&mut self) {
        self.0.values_mut().flat_map(BTreeMap::values_mut).flatten().for_each(|rule| rule.0 += 1);
    }

    /// Whether the rules of a chain in the nat table lead a packet with that mark to the instance.
    fn leads(&self, chain: &str, mark: u16, instance: u32) -> bool {
        for (_, text) in &self.0["nat"][chain] {
            let words = rule::words(text);
            let number = |text: &str| u16::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
            let matching = rule::value(&words, &["--mark"]).and_then(|mark| mark.split_once('/'));
            if matching.is_some_and(|(value, mask)| mark & number(mask) != number(value)) {
                continue;
            }
            if rule::target(&words).is_some_and(chain::is_own) {
                if self.leads(rule::target(&words).unwrap(), mark, instance) {
                    return true;
                }
            } else if rule::target(&words).is_some() {
                return text.contains(&format!("--comment instance-{instance} "));
            }
        }
        false
    }

    /// Makes it carry the services, and checks that nothing is left to do then.
    fn apply(&mut self, family: Family, services: &[(&Name, &Service)]) {
        self.restore(&input(family, &self.save(), services));
        assert_eq!(input(family, &self.save(), services), "");
        for (name, service) in services {
            for (id, mark) in observe::marks(&self.save(), name) {
                assert!(service.instances.iter().any(|instance| instance.id == id));
                assert!(self.leads(&chain::of(name), mark, id), "{name}: {id} is out of reach");
            }
        }
    }
}

#[test]
fn one_service_makes_these_rules() {
    let (web, service) = (name("web"), service(&["80/tcp"], &["8001", "8002*3"]));
    assert_snapshot!(input(Family::V4, &Saved::default(), &[(&web, &service)]), @"
    *nat
    :WOCUT-web - [0:0]
    -A WOCUT-web -m comment --comment picks
    -A WOCUT-web -m mark --mark 0x0/0xffff -m comment --comment unserved -j RETURN
    -A WOCUT-web -p tcp -m mark --mark 0x1f41/0xffff -m comment --comment instance-1 -j REDIRECT --to-ports 8001
    -A WOCUT-web -p tcp -m mark --mark 0x1f42/0xffff -m comment --comment instance-2 -j REDIRECT --to-ports 8002
    COMMIT
    *mangle
    :WOCUT - [0:0]
    :WOCUT-web - [0:0]
    -A WOCUT -p tcp -m tcp --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -m addrtype --dst-type LOCAL -m conntrack --ctstate NEW ! --ctstatus CONFIRMED -g WOCUT-web
    -A WOCUT-web -j MARK --set-xmark 0x1f41/0xffff
    -A WOCUT-web -m statistic --mode random --probability 0.75000000000 -j MARK --set-xmark 0x1f42/0xffff
    -A PREROUTING -j WOCUT
    -A OUTPUT -j WOCUT
    COMMIT
    *nat
    :WOCUT - [0:0]
    -A WOCUT -p tcp -m tcp --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -m addrtype --dst-type LOCAL -g WOCUT-web
    -I PREROUTING -j WOCUT
    -I OUTPUT -j WOCUT
    COMMIT
    ");
}

#[test]
fn addresses_come_before_wildcards_and_keep_to_their_family() {
    let (web, adm) = (name("web"), name("adm"));
    let wide = service(&["80/tcp", "53/udp"], &["8001"]);
    let narrow = service(&["[::1]:80/tcp"], &["a=[::1]:9001", "b=127.0.0.1:9001"]);
    assert_snapshot!(input(Family::V6, &Saved::default(), &[(&web, &wide), (&adm, &narrow)]), @"
    *nat
    :WOCUT-web - [0:0]
    -A WOCUT-web -m comment --comment picks
    -A WOCUT-web -m mark --mark 0x0/0xffff -m comment --comment unserved -j RETURN
    -A WOCUT-web -p tcp -m mark --mark 0x1f41/0xffff -m comment --comment instance-1 -j REDIRECT --to-ports 8001
    -A WOCUT-web -o lo -p udp -m mark --mark 0x1f41/0xffff -m comment --comment instance-1 -j DNAT --to-destination :8001
    -A WOCUT-web ! -o lo -p udp -m mark --mark 0x1f41/0xffff -m comment --comment instance-1 -j REDIRECT --to-ports 8001
    :WOCUT-adm - [0:0]
    -A WOCUT-adm -m comment --comment picks
    -A WOCUT-adm -m mark --mark 0x0/0xffff -m comment --comment unserved -j RETURN
    -A WOCUT-adm -p tcp -m mark --mark 0x2329/0xffff -m comment --comment instance-1 -j DNAT --to-destination [::1]:9001
    COMMIT
    *mangle
    :WOCUT - [0:0]
    :WOCUT-web - [0:0]
    :WOCUT-adm - [0:0]
    -A WOCUT -d ::1/128 -p tcp -m tcp --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -m addrtype --dst-type LOCAL -m conntrack --ctstate NEW ! --ctstatus CONFIRMED -g WOCUT-adm
    -A WOCUT -p tcp -m tcp --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -m addrtype --dst-type LOCAL -m conntrack --ctstate NEW ! --ctstatus CONFIRMED -g WOCUT-web
    -A WOCUT -p udp -m udp --dport 53 -m addrtype --dst-type LOCAL -m conntrack --ctstate NEW ! --ctstatus CONFIRMED -g WOCUT-web
    -A WOCUT-web -j MARK --set-xmark 0x1f41/0xffff
    -A WOCUT-adm -j MARK --set-xmark 0x2329/0xffff
    -A PREROUTING -j WOCUT
    -A OUTPUT -j WOCUT
    COMMIT
    *nat
    :WOCUT - [0:0]
    -A WOCUT -d ::1/128 -p tcp -m tcp --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -m addrtype --dst-type LOCAL -g WOCUT-adm
    -A WOCUT -p tcp -m tcp --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -m addrtype --dst-type LOCAL -g WOCUT-web
    -A WOCUT -p udp -m udp --dport 53 -m addrtype --dst-type LOCAL -g WOCUT-web
    -I PREROUTING -j WOCUT
    -I OUTPUT -j WOCUT
    COMMIT
    ");
}

#[test]
fn drained_instance_loses_its_pick_and_keeps_its_rule() {
    let (web, mut service) = (name("web"), service(&["80/tcp"], &["8001", "8002"]));
    let mut tables = Tables::foreign();
    tables.apply(Family::V4, &[(&web, &service)]);
    service.instances[0].admin = Admin::Drain;
    assert_snapshot!(input(Family::V4, &tables.save(), &[(&web, &service)]), @"
    *mangle
    :WOCUT-web - [0:0]
    -A WOCUT-web -j MARK --set-xmark 0x1f42/0xffff
    COMMIT
    ");
}

#[test]
fn refusal_is_for_the_service_that_asked_for_it() {
    let (web, adm) = (name("web"), name("adm"));
    let mut wide = service(&["80/tcp", "53/udp"], &["8001!"]);
    wide.options.on_empty = OnEmpty::Reject;
    let narrow = service(&["10.0.0.1:80/tcp"], &["9001"]);
    let text = input(Family::V4, &Saved::default(), &[(&web, &wide), (&adm, &narrow)]);
    assert_snapshot!(&text[text.find("*filter").unwrap()..], @"
    *filter
    :WOCUT - [0:0]
    -A WOCUT -d 10.0.0.1/32 -p tcp -m tcp --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -m addrtype --dst-type LOCAL -m conntrack --ctstate NEW -j RETURN
    -A WOCUT -p tcp -m tcp --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -m addrtype --dst-type LOCAL -m conntrack --ctstate NEW -j REJECT --reject-with tcp-reset
    -A WOCUT -p udp -m udp --dport 53 -m addrtype --dst-type LOCAL -m conntrack --ctstate NEW -j REJECT --reject-with icmp-port-unreachable
    -I INPUT -j WOCUT
    COMMIT
    ");
}

#[test]
fn grown_service_keeps_its_counters() {
    let ports: Vec<String> = (8001..8101).map(|port| port.to_string()).collect();
    let ports: Vec<&str> = ports.iter().map(String::as_str).collect();
    let web = name("web");
    let mut tables = Tables::foreign();
    tables.apply(Family::V4, &[(&web, &service(&["80/tcp"], &ports[..10]))]);
    tables.count();
    let big = service(&["80/tcp"], &ports);
    tables.apply(Family::V4, &[(&web, &big)]);
    tables.count();
    let seen = observe::service(&[tables.save()], &web, &big);
    let picked: Vec<_> = seen.instances.iter().map(|instance| instance.picked.unwrap()).collect();
    assert_eq!((&picked[..10], &picked[10..]), (&[2; 10][..], &[1; 90][..]));
    assert_eq!(seen.picks, Some(2));
    let longest = tables.0["nat"].values().map(Vec::len).max().unwrap();
    assert!(longest <= 28, "{longest} rules in one chain");
    tables.apply(Family::V4, &[(&web, &service(&["80/tcp"], &ports[..3]))]);
    assert_eq!(tables.0["nat"].keys().filter(|chain| chain::is_own(chain)).count(), 2);
}

#[test]
fn sticky_service_changes_where_it_must() {
    let (web, mut service) = (name("web"), service(&["80/tcp"], &["8001", "8002", "8003"]));
    service.options.policy = Policy::Sticky;
    let mut tables = Tables::foreign();
    tables.apply(Family::V4, &[(&web, &service)]);
    let before = tables.save();
    service.instances[1].admin = Admin::Drain;
    let change = input(Family::V4, &before, &[(&web, &service)]);
    assert!(
        change.starts_with("*mangle\n") && !change.contains("-s ") && !change.contains("*nat"),
        "{change}"
    );
    tables.apply(Family::V4, &[(&web, &service)]);
    service.instances[1].admin = Admin::Ready;
    tables.apply(Family::V4, &[(&web, &service)]);
    assert_eq!(tables.save(), before);
}

#[test]
fn turns_are_counted_by_rules() {
    let (web, mut service) = (name("web"), service(&["80/tcp"], &["8001", "8002*2"]));
    service.options.policy = Policy::RoundRobin;
    let text = input(Family::V4, &Saved::default(), &[(&web, &service)]);
    assert_snapshot!(&text[text.find("*mangle").unwrap()..text.rfind("*nat").unwrap()], @"
    *mangle
    :WOCUT - [0:0]
    :WOCUT-web - [0:0]
    :WOCUT-web.1f41 - [0:0]
    :WOCUT-web.1f42 - [0:0]
    -A WOCUT -p tcp -m tcp --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -m addrtype --dst-type LOCAL -m conntrack --ctstate NEW ! --ctstatus CONFIRMED -g WOCUT-web
    -A WOCUT-web -m statistic --mode nth --every 3 --packet 0 -g WOCUT-web.1f42
    -A WOCUT-web -m statistic --mode nth --every 2 --packet 0 -g WOCUT-web.1f41
    -A WOCUT-web -g WOCUT-web.1f42
    -A WOCUT-web.1f41 -j MARK --set-xmark 0x1f41/0xffff
    -A WOCUT-web.1f42 -j MARK --set-xmark 0x1f42/0xffff
    -A PREROUTING -j WOCUT
    -A OUTPUT -j WOCUT
    COMMIT
    ");
}

#[test]
fn guarded_instances_refuse_who_is_not_on_this_host() {
    let (web, mut service) =
        (name("web"), service(&["10.0.0.1:80/tcp", "53/udp"], &["8001", "8002!", "a=[::1]:9001"]));
    service.options.guard = true;
    let text = input(Family::V4, &Saved::default(), &[(&web, &service)]);
    assert_snapshot!(&text[text.find("*filter").unwrap()..], @"
    *filter
    :WOCUT - [0:0]
    -A WOCUT ! -i lo -p tcp -m tcp --dport 8001:8002 --tcp-flags FIN,SYN,RST,ACK SYN -m conntrack --ctstate NEW --ctorigdstport 8001:8002 -j REJECT --reject-with tcp-reset
    -A WOCUT ! -i lo -p udp -m udp --dport 8001:8002 -m conntrack --ctstate NEW --ctorigdstport 8001:8002 -j REJECT --reject-with icmp-port-unreachable
    -I INPUT -j WOCUT
    COMMIT
    ");
    let text = input(Family::V6, &Saved::default(), &[(&web, &service)]);
    assert!(text.contains("-A WOCUT -d ::1/128 ! -i lo -p udp -m udp --dport 9001 -m conntrack"), "{text}");
}

#[test]
fn guard_holds_in_a_family_that_the_service_does_not_listen_in() {
    let (web, mut service) = (name("web"), service(&["10.0.0.1:80/tcp"], &["8001"]));
    service.options.guard = true;
    let mut tables = Tables::foreign();
    tables.apply(Family::V6, &[(&web, &service)]);
    assert_eq!(tables.0["filter"]["WOCUT"].len(), 1);
    assert!(!tables.0["nat"].contains_key("WOCUT"));
}

#[test]
fn nobody_to_serve_can_be_silence() {
    let (web, mut service) = (name("web"), service(&["80/tcp"], &["8001!"]));
    service.options.on_empty = OnEmpty::Drop;
    let text = input(Family::V4, &Saved::default(), &[(&web, &service)]);
    assert_snapshot!(&text[text.find("*filter").unwrap()..], @"
    *filter
    :WOCUT - [0:0]
    -A WOCUT -p tcp -m tcp --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -m addrtype --dst-type LOCAL -m conntrack --ctstate NEW -j DROP
    -I INPUT -j WOCUT
    COMMIT
    ");
}

prop_compose! {
    fn any_service()(
        listen in prop::sample::subsequence(vec!["80/tcp", "10.0.0.1:80/tcp", "[::1]:80/tcp", "53/udp", "81/tcp"], 1..5),
        places in prop::sample::subsequence((0u16..60).collect::<Vec<_>>(), 1..40),
        drained in any::<u64>(),
        on_empty in prop::sample::select(OnEmpty::ALL),
        // `sticky` makes thousands of rules, and has a test of its own.
        policy in prop::sample::select(vec![Policy::Random, Policy::RoundRobin]),
        guard in any::<bool>(),
    ) -> Service {
        let text = |i: &u16| match i % 20 {
            0 => format!("n{i}=127.0.0.{}:9000", i + 1),
            1 => format!("n{i}=[::{}]:9000", i + 1),
            _ => format!("n{i}={}*{}", 8000 + i, i % 5),
        };
        let texts: Vec<String> = places.iter().map(text).collect();
        let mut service = service(&listen, &texts.iter().map(String::as_str).collect::<Vec<_>>());
        for (instance, place) in service.instances.iter_mut().zip(&places) {
            instance.id = u32::from(*place) + 1;
            if drained >> place & 1 == 1 {
                instance.admin = Admin::Drain;
            }
        }
        service.options = Options { policy, on_empty, guard, ..Options::default() };
        service
    }
}

prop_compose! {
    fn any_services()(
        services in prop::collection::vec(any_service(), 0..3),
        names in Just(["web", "adm", "a-name-of-22-characters"]).prop_shuffle(),
    ) -> Vec<(Name, Service)> {
        names.iter().map(|text| name(&text[..text.len().min(22)])).zip(services).collect()
    }
}

fn borrowed(services: &[(Name, Service)]) -> Vec<(&Name, &Service)> {
    services.iter().map(|(name, service)| (name, service)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn any_change_from_any_state_is_complete_and_keeps_counters(
        steps in prop::collection::vec((any_services(), 0usize..5, any::<u64>()), 1..6),
        v6 in any::<bool>(),
    ) {
        let family = if v6 { Family::V6 } else { Family::V4 };
        let before = Tables::foreign();
        let mut tables = before.clone();
        for (services, killed_after, vandal) in &steps {
            let services = borrowed(services);
            let input = input(family, &tables.save(), &services);
            // A command that is killed leaves some of the tables changed.
            let sections: Vec<&str> = input.split_inclusive("COMMIT\n").take(*killed_after).collect();
            tables.restore(&sections.concat());
            // Somebody deletes a rule of ours.
            let chains = tables.0.get_mut(["nat", "mangle"][(vandal % 2) as usize]).unwrap();
            let mut own: Vec<_> = chains.iter_mut().filter(|(chain, rules)| chain::is_own(chain) && !rules.is_empty()).collect();
            if let (0, 1..) = (vandal % 3, own.len()) {
                let count = own.len() as u64;
                own[(vandal / 6 % count) as usize].1.pop();
            }
            tables.apply(family, &services);
            tables.count();
            let counted = tables.save();
            tables.apply(family, &services);
            prop_assert_eq!(&counted, &tables.save());
        }
        for pair in steps.windows(2) {
            tables.apply(family, &borrowed(&pair[0].0));
            tables.count();
            let seen: Vec<_> = pair[0].0.iter().map(|(name, old)| observe::service(&[tables.save()], name, old)).collect();
            tables.apply(family, &borrowed(&pair[1].0));
            for ((name, old), seen) in pair[0].0.iter().zip(seen) {
                let Some((_, new)) = pair[1].0.iter().find(|(other, new)| other == name && new.listen == old.listen) else {
                    continue;
                };
                let now = observe::service(&[tables.save()], name, new);
                prop_assert_eq!((seen.picks, seen.unserved), (now.picks, now.unserved));
                for (instance, seen) in old.instances.iter().zip(seen.instances) {
                    if let Some(at) = new.instances.iter().position(|new| new.id == instance.id) {
                        prop_assert_eq!(seen.picked, now.instances[at].picked);
                    }
                }
            }
        }
        tables.apply(family, &[]);
        for (table, chains) in &before.0 {
            let left: Vec<_> = tables.0[table].keys().collect();
            prop_assert_eq!(left, chains.keys().collect::<Vec<_>>());
            for (chain, rules) in chains {
                let texts = |rules: &[(u64, String)]| rules.iter().map(|rule| rule.1.clone()).collect::<Vec<_>>();
                prop_assert_eq!(texts(&tables.0[table][chain]), texts(rules));
            }
        }
    }
}
