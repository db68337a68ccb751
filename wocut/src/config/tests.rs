//! What a file comes to, and that nothing from outside does harm.

use std::fs;

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::{Config, export, original, problem::Problems, service, source::Source};
use crate::{
    model::{
        Admin, Check, CheckKind, CheckOverride, Definition, EngineChoice, EngineKind, Health, HookChoice,
        HttpRequest, InstanceSpec, Member, OnEmpty, Options, Policy, Step, Steps, StickyPrefix, Tls, Wanted,
    },
    plan::{Assigned, Change, problems},
};

fn toml(text: &str) -> Result<Vec<Definition>, String> {
    outcome(&Source::toml(text), service::read)
}

fn wocut(stem: &str, text: &str) -> Result<Vec<Definition>, String> {
    outcome(&Source::original(stem, text), original::read)
}

/// The definitions, or every problem as a user sees it.
fn outcome(
    source: &Source,
    read: impl Fn(&mut Problems<'_>) -> Vec<(Definition, std::ops::Range<usize>)>,
) -> Result<Vec<Definition>, String> {
    let mut problems = Problems::new(source);
    let found = read(&mut problems).into_iter().map(|(definition, _)| definition).collect();
    let said: Vec<String> = problems.refused.problems.iter().map(ToString::to_string).collect();
    if said.is_empty() { Ok(found) } else { Err(said.join("\n")) }
}

/// What is wanted where only these are.
fn applied(definitions: &[Definition]) -> Wanted {
    let mut wanted = Wanted::empty(None);
    let services = definitions.iter().cloned().map(Assigned::from).collect();
    Change::Apply { services, prune: true }.apply(&mut wanted).unwrap();
    wanted
}

#[test]
fn whole_format_is_read() {
    let text = r#"
        [service.web]
        description = "The \"web\""
        listen = ["80/tcp", "[::1]:443/tcp"]
        policy = "least-conn"
        sticky_prefix = "24,56"
        on_empty = "drop"
        guard = true
        hook = "tc"
        allow_degraded = true
        slow_start = "30s"
        engine = "ebpf"
        instances = [8001, "8002*3", { name = "canary", address = "127.0.0.1", port = 8003, weight = 2, admin = "drain", backup = true }]
        check = { type = "http", path = "/healthz", interval = "2s", timeout = "500ms", rise = 1, fall = 3 }

        [service.api]
        listen = ["81/udp"]
        sticky_prefix = 24
        instances = [8004]
        check = { type = "tcp", interval = "500ms" }
    "#;
    let [web, api]: [Definition; 2] = toml(text).unwrap().try_into().unwrap();
    let options = Options {
        policy: Policy::LeastConn,
        sticky_prefix: StickyPrefix { v4: 24, v6: 56 },
        on_empty: OnEmpty::Drop,
        guard: true,
        hook: HookChoice::Tc,
        allow_degraded: true,
        slow_start: "30s".parse().ok(),
    };
    assert_eq!((web.name.as_str(), web.options), ("web", options));
    assert_eq!(web.engine, EngineChoice::Only(EngineKind::Ebpf));
    let shown: Vec<String> = web.instances.iter().map(|member| member.spec.to_string()).collect();
    assert_eq!(shown, ["8001", "8002*3", "canary=127.0.0.1:8003*2"]);
    let admins: Vec<_> = web.instances.iter().map(|member| member.admin).collect();
    assert_eq!(admins, [None, None, Some(Admin::Drain)]);
    assert_eq!(web.instances.iter().map(|member| member.backup).collect::<Vec<_>>(), [false, false, true]);
    assert_eq!(web.description.unwrap().as_str(), "The \"web\"");
    let check = web.check.unwrap();
    assert_eq!((check.timeout.to_string(), check.rise.get(), check.fall.get()), ("500ms".into(), 1, 3));
    assert_eq!(api.options.sticky_prefix, StickyPrefix { v4: 24, v6: 64 });
    assert_eq!(api.check.unwrap().timeout.to_string(), "500ms");
}

#[test]
fn every_kind_of_check_is_read() {
    let text = r#"
        [service.web]
        listen = ["80/tcp"]
        check = { type = "https", method = "POST", path = "/a?b", host = "a.example", status = ["200-299", 404], body = "*ok*", verify = false, server_name = "b.example", fast_interval = "100ms", initial = "down" }
        instances = [
            { port = 1, check = { type = "tcp", address = "::1", port = 81 } },
            { port = 2, check = false },
            { port = 3, check = { type = "send-expect", steps = [{ send = "EHLO%20x%0D%0A" }, { expect = "220*" }], tls = true } },
            { port = 4, check = { type = "udp" } },
            { port = 5, check = { type = "udp", steps = [{ send = "%00" }, { expect = "?" }] } },
            { port = 6, check = { type = "exec", command = ["/usr/lib/check", "a b"] } },
            7,
            { port = 8, check = { type = "http" } },
        ]
    "#;
    let [web]: [Definition; 1] = toml(text).unwrap().try_into().unwrap();
    let service = web.draft(EngineKind::Ebpf);
    let checks: Vec<_> = service.instances.iter().map(|instance| service.check_of(instance)).collect();
    let names: Vec<_> = checks.iter().map(|check| check.map(|check| check.kind.name())).collect();
    let expected = ["tcp", "", "send-expect", "udp", "udp", "exec", "https", "http"];
    assert!(CheckKind::TYPES.iter().all(|kind| expected.contains(kind)));
    assert_eq!(names, expected.map(|name| Some(name).filter(|name| !name.is_empty())));
    let tcp = checks[0].unwrap();
    assert_eq!((tcp.address, tcp.port.unwrap().get()), (Some("::1".parse().unwrap()), 81));
    assert!(matches!(&checks[3].unwrap().kind, CheckKind::Udp { steps } if steps.ends_in_send()));
    let https = checks[6].unwrap();
    assert_eq!((https.initial, https.fast_interval), (Health::Down, "100ms".parse().ok()));
    let CheckKind::Https { request, tls } = &https.kind else { panic!("{https:?}") };
    assert!(request.status.contains(404) && !request.status.contains(300) && !tls.verify);
    assert_eq!(toml(&export(&applied(std::slice::from_ref(&web)))).unwrap()[0].check, web.check);
}

#[test]
fn every_option_is_a_key() {
    let options = serde_json::to_value(Options::default()).unwrap();
    for key in options.as_object().unwrap().keys() {
        assert!(service::KEYS.contains(&key.as_str()), "{key}");
    }
}

#[test]
fn errors_say_where_and_what_may_be_meant() {
    let text = r#"[service.web]
listne = ["80/tcp"]
listen = ["80/tcp", "81/sctp", 82]
policy = "magic"
guard = "yes"
instances = [0, "8001*999", { port = 8002, wieght = 2 }, { name = "x" }, 1.5]

[service."a b"]
listen = "80/tcp"

[servcie.api]
"#;
    let said = toml(text).unwrap_err();
    let expected = "\
test.toml:11:2: unknown key `servcie`
  11 | [servcie.api]
     |  ^^^^^^^
hint: did you mean `service`?
test.toml:2:1: unknown key `listne`
  2 | listne = [\"80/tcp\"]
    | ^^^^^^
hint: did you mean `listen`?
test.toml:3:21: `81/sctp` is not a LISTEN: the protocol is neither tcp nor udp
  3 | listen = [\"80/tcp\", \"81/sctp\", 82]
    |                     ^^^^^^^^^
test.toml:3:32: it wants a protocol, as in `\"82/tcp\"`
  3 | listen = [\"80/tcp\", \"81/sctp\", 82]
    |                                ^^
";
    assert!(said.starts_with(expected), "{said}");
    for part in [
        "test.toml:4:10: `magic` is not a policy: it is one of `random`",
        "test.toml:5:9: it is true or false, not a text",
        "test.toml:6:14: `0` is not an INSTANCE: a port is a number from 1 to 65535",
        "test.toml:6:17: `8001*999` is not an INSTANCE: a weight is a number from 0 to 256",
        "test.toml:6:44: unknown key `wieght`",
        "hint: did you mean `weight`?",
        "test.toml:6:58: `port` is missing",
        "test.toml:6:74: it is a port, a text as in `\"8002*3\"`, or a table, not a number with a point",
        "test.toml:8:10: `a b` is not a name",
        "test.toml:9:10: it is a list, as in `[\"80/tcp\"]`, not a text",
        "test.toml:8:10: `instances` is missing",
    ] {
        assert!(said.contains(part), "{part}\nis not in\n{said}");
    }
}

#[test]
fn bad_values_are_refused_with_the_reason() {
    for (line, why) in [
        ("listen = []", "at least one"),
        ("instances = 8001", "a list"),
        ("instances = [{ port = 70000 }]", "a port from 1 to 65535, not 70000"),
        ("instances = [{ port = -1 }]", "a port from 1 to 65535, not -1"),
        ("instances = [{ port = 99999999999999999999 }]", "a number beyond 64 bits"),
        ("instances = [{ port = 1, weight = 257 }]", "0 to 256"),
        ("instances = [{ port = 1, address = \"localhost\" }]", "an IPv4 or IPv6 address"),
        ("instances = [{ port = 1, address = \"::\" }]", "leave the address out"),
        ("instances = [{ port = 1, admin = \"off\" }]", "`ready` `drain` `maint`"),
        ("instances = [{ port = 1, name = \"a b\" }]", "letters"),
        ("engine = \"nft\"", "`auto`, `ebpf` or `iptables`"),
        ("sticky_prefix = 33", "0 to 32"),
        ("description = \"a\\nb\"", "one line"),
        ("check = 1", "a table"),
        ("check = {}", "`type` is missing"),
        ("check = { type = \"icmp\" }", "one of `tcp`, `http`, `https`, `send-expect`, `udp` and `exec`"),
        ("check = { type = 1 }", "a text, not a number"),
        ("check = { type = \"tcp\", port = 0 }", "a port from 1 to 65535, not 0"),
        ("check = { type = \"tcp\", address = \"x\" }", "an IPv4 or IPv6 address"),
        ("check = { type = \"tcp\", initial = \"yes\" }", "`up` `down` `unknown`"),
        ("check = { type = \"tcp\", fast_interval = \"3s\" }", "longer than the usual one"),
        ("check = { type = \"tcp\", pahT = \"/\" }", "unknown key `pahT`"),
        ("check = { type = \"http\", method = \"get\" }", "capital letters"),
        ("check = { type = \"http\", host = \"a b\" }", "is not a host"),
        ("check = { type = \"http\", status = 99 }", "codes from 100 to 599"),
        ("check = { type = \"http\", status = [200, \"x\"] }", "`x` is not a status"),
        ("check = { type = \"http\", status = [] }", "at least one"),
        ("check = { type = \"http\", status = [true] }", "a code, a range"),
        ("check = { type = \"http\", body = \"[\" }", "wants its `]`"),
        ("check = { type = \"http\", body = \"*\", method = \"HEAD\" }", "has none"),
        ("check = { type = \"http\", verify = true }", "`http` has no verify"),
        ("check = { type = \"https\", verify = 1 }", "true or false"),
        ("check = { type = \"https\", server_name = \"a b\" }", "a server's name"),
        ("check = { type = \"send-expect\" }", "`steps` is missing"),
        ("check = { type = \"send-expect\", steps = [] }", "at least one"),
        ("check = { type = \"send-expect\", steps = [{}] }", "either `send` or `expect`"),
        ("check = { type = \"send-expect\", steps = [{ send = \"%\" }] }", "two digits of 16"),
        ("check = { type = \"send-expect\", steps = [{ send = \"a\" }], verify = false }", "`tls = true`"),
        ("check = { type = \"udp\", steps = [{ expect = \"a\" }] }", "before we send"),
        ("check = { type = \"exec\" }", "`command` is missing"),
        ("check = { type = \"exec\", command = \"/bin/true\" }", "a list"),
        ("check = { type = \"exec\", command = [\"true\"] }", "the full path"),
        ("check = { type = \"exec\", command = [\"/bin/test\", 1] }", "a text, not a number"),
        ("instances = [{ port = 1, check = true }]", "`false` for no check"),
        ("instances = [{ port = 1, check = { type = \"x\" } }]", "one of `tcp`"),
        ("check = { type = \"tcp\", path = \"/\" }", "has no path"),
        ("check = { type = \"http\", path = \"healthz\" }", "begins with `/`"),
        ("check = { type = \"tcp\", interval = \"1s\", timeout = \"2s\" }", "the next check begins after 1s"),
        ("check = { type = \"tcp\", interval = 2 }", "a text, not a number"),
        ("check = { type = \"tcp\", rise = 0 }", "from 1 to 255"),
        ("check = { type = \"tcp\", fall = 256 }", "from 1 to 255, not 256"),
    ] {
        let rest = [("listen", "[\"80/tcp\"]"), ("instances", "[8001]")];
        let rest: Vec<String> = rest
            .iter()
            .filter(|(key, _)| !line.starts_with(key))
            .map(|(key, value)| format!("{key} = {value}"))
            .collect();
        let rest = rest.join("\n");
        let said = toml(&format!("[service.web]\n{line}\n{rest}")).unwrap_err();
        assert!(said.contains(why) && said.starts_with("test.toml:2:"), "{line}: {said}");
        assert_eq!(said.matches("test.toml").count(), 1, "{said}");
    }
}

#[test]
fn files_of_the_original_are_read() {
    // Its sample, and a file as it was written by the tool itself.
    let sample =
        "proto: tcp\ninport: 80\ndescription: HTTP Multiplexer\nblockdirect: true\nmarkports: [9000,9001]\n";
    let written = "---\nauto: 1\nblockdirect: 0\ninport: 53\nmarkports:\n  - 9000\n  - '9001'\nmonitor: 1\nproto: udp\n";
    let [one]: [Definition; 1] = wocut("apache", sample).unwrap().try_into().unwrap();
    assert_eq!((one.name.as_str(), one.listen[0].to_string()), ("apache", "80/tcp".into()));
    assert_eq!(one.description.unwrap().as_str(), "HTTP Multiplexer");
    assert_eq!(one.options, Options { guard: true, ..Options::default() });
    let [two]: [Definition; 1] = wocut("dns", written).unwrap().try_into().unwrap();
    let shown: Vec<String> = two.instances.iter().map(|member| member.spec.to_string()).collect();
    assert_eq!((two.listen[0].to_string(), shown), ("53/udp".into(), vec!["9000".into(), "9001".into()]));
    assert_eq!(two.options, Options::default());
}

#[test]
fn what_the_original_says_and_wocut_cannot_do_is_named() {
    let good = "proto: tcp\ninport: 80\nmarkports: [9000]\n";
    for (stem, text, why) in [
        ("my.app", good, "the file's name is the service's: `my.app` is not a name"),
        ("web", "inport: 80\nmarkports: [9000]", "`proto` is missing"),
        ("web", "proto: sctp\ninport: 80\nmarkports: [9000]", "web.wocut:2:9: `80/sctp` is not a LISTEN"),
        ("web", "proto: tcp\ninport: 80\nmarkports: 9000", "a list, as in `[9000, 9001]`"),
        ("web", "proto: tcp\ninport: 80\nmarkports: [9000*3]", "it is a port from 1 to 65535"),
        ("web", "proto: tcp\ninport: 80\nmarkports: [x=9000]", "it is a port from 1 to 65535"),
        ("web", "proto: tcp\ninport: ::1:80\nmarkports: [9000]", "is not a LISTEN"),
        ("web", &format!("{good}blockdirect: maybe"), "web.wocut:4:14: it is 0 or 1"),
        ("web", &format!("{good}nodirect: 1"), "unknown key `nodirect`"),
        ("web", "- 1", "it is a table, not a list"),
    ] {
        let said = wocut(stem, text).unwrap_err();
        assert!(said.contains(why), "{text}: {said}");
    }
    let source = Source::original("web", "auto: 0\nproto: tcp\ninport: 80\nmarkports: [9000]\n");
    let mut problems = Problems::new(&source);
    assert_eq!(original::read(&mut problems).len(), 1);
    assert!(problems.warnings[0].to_string().starts_with("web.wocut:1:1: `auto` is off"));
}

#[test]
fn files_are_checked_beside_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let service = |name: &str, port: u16, instance: u16| {
        format!("[service.{name}]\nlisten = [\"{port}/tcp\"]\ninstances = [{instance}]\n")
    };
    let write = |file: &str, text: String| fs::write(folder.path().join(file), text).unwrap();
    write("a.toml", service("web", 80, 8001));
    write("b.toml", service("web", 81, 8002));
    write("c.toml", service("wiki", 80, 8003) + &service("api", 82, 8004));
    write("d.wocut", "proto: tcp\ninport: 83\nmarkports: [8005]\n".into());
    let config = Config::read(&[folder.path().into()]);
    let counts: Vec<_> = config.files.iter().map(|file| (file.services, file.errors)).collect();
    assert_eq!(counts, [(1, 0), (0, 1), (2, 1), (1, 0)]);
    let refused = config.sound().unwrap_err();
    assert_eq!((refused.count(), refused.exit_code()), (2, 2));
    let said: Vec<&str> = refused.problems.iter().map(|problem| problem.message.as_str()).collect();
    assert!(
        said[0].starts_with("service `web` is in ") && said[0].ends_with("a.toml:1:10 already"),
        "{said:?}"
    );
    assert_eq!(said[1], "wiki: service `web` listens on 80/tcp already");

    fs::remove_file(folder.path().join("b.toml")).unwrap();
    assert_eq!(Config::read(&[folder.path().into()]).sound().unwrap_err().exit_code(), 5);
    fs::remove_file(folder.path().join("a.toml")).unwrap();
    assert_eq!(Config::read(&[folder.path().into()]).sound().unwrap().services.len(), 3);
    assert_eq!(Config::read(&[folder.path().join("none")]).sound().unwrap_err().exit_code(), 1);
}

#[test]
fn large_files_end_soon() {
    let many = |one: &dyn Fn(usize) -> String| (0..20_000).map(one).collect::<String>();
    for text in [
        many(&|i| format!("[service.s{i}]\nlisten=[\"1/tcp\"]\ninstances=[2]\n")),
        many(&|i| format!("k{i} = 1\n")),
        format!("service = {{ {} }}", many(&|i| format!("s{i} = {{ listen = 1 }}, "))),
        format!("[service.web]\nlisten=[\"1/tcp\"]\ninstances=[{}]", "2,".repeat(200_000)),
        format!("[service.web]\nlisten=[\"1/tcp\"]\ninstances=[{}]", "{},".repeat(200_000)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("big.toml");
        fs::write(&file, text).unwrap();
        let refused = Config::read(&[file]).sound().unwrap_err();
        assert!(refused.problems.len() <= 50);
    }
}

fn name() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9][a-zA-Z0-9_-]{0,21}"
}

fn spec() -> impl Strategy<Value = InstanceSpec> {
    let address = option::of(prop_oneof![
        any::<[u8; 4]>().prop_map(std::net::IpAddr::from),
        any::<[u8; 16]>().prop_map(std::net::IpAddr::from),
    ]);
    let address = address.prop_map(|address| {
        address.map(|address| address.to_canonical()).filter(|address| !address.is_unspecified())
    });
    (option::of(name()), address, 1u16.., 0u16..=256).prop_map(|(name, address, port, weight)| InstanceSpec {
        name: name.unwrap_or_else(|| port.to_string()).parse().unwrap(),
        address,
        port,
        weight: weight.try_into().unwrap(),
    })
}

fn options() -> impl Strategy<Value = Options> {
    let words = (select(Policy::ALL), select(OnEmpty::ALL), select(HookChoice::ALL));
    let slow_start =
        option::of((10u64..=3_600_000).prop_map(|millis| format!("{millis}ms").parse().unwrap()));
    (words, 0u8..=32, 0u8..=128, any::<(bool, bool)>(), slow_start).prop_map(
        |((policy, on_empty, hook), v4, v6, (guard, allow_degraded), slow_start)| Options {
            policy,
            sticky_prefix: StickyPrefix { v4, v6 },
            on_empty,
            guard,
            hook,
            allow_degraded,
            slow_start,
        },
    )
}

fn request() -> impl Strategy<Value = HttpRequest> {
    let status = vec(prop_oneof![(100u16..=599).prop_map(|it| it.to_string()), Just("200-399".into())], 1..5);
    let host = option::of("[a-z]{1,9}(:[1-9][0-9]{0,3})?");
    ("/[a-zA-Z0-9/?&=%']{0,40}", select(vec!["GET", "POST"]), host, status, option::of(pattern())).prop_map(
        |(path, method, host, status, body)| HttpRequest {
            method: method.parse().unwrap(),
            path: path.parse().unwrap(),
            host: host.map(|host| host.parse().unwrap()),
            status: status.join(" ").parse().unwrap(),
            body: body.map(|body| body.parse().unwrap()),
        },
    )
}

fn pattern() -> impl Strategy<Value = String> {
    "([a-z\"'*?ä\\]]|%[0-9A-F]{2}|\\[[!a-c]]|\\\\[*\\\\]){1,12}"
        .prop_filter("a class is not empty", |text| text.parse::<crate::model::Pattern>().is_ok())
}

fn steps() -> impl Strategy<Value = Steps> {
    let step = prop_oneof![
        "([a-z\"\\\\ä]|%[0-9a-f]{2}){0,12}".prop_map(|text| Step::Send(text.parse().unwrap())),
        pattern().prop_map(|text| Step::Expect(text.parse().unwrap())),
    ];
    vec(step, 1..5).prop_map(|steps| steps.try_into().unwrap())
}

fn kind() -> impl Strategy<Value = CheckKind> {
    let tls = (any::<bool>(), option::of("[a-z]{1,9}(\\.[a-z]{1,9}){0,2}"))
        .prop_map(|(verify, name)| Tls { verify, server_name: name.map(|name| name.parse().unwrap()) });
    prop_oneof![
        Just(CheckKind::Tcp),
        request().prop_map(CheckKind::Http),
        (request(), tls.clone()).prop_map(|(request, tls)| CheckKind::Https { request, tls }),
        (steps(), option::of(tls)).prop_map(|(steps, tls)| CheckKind::SendExpect { steps, tls }),
        steps()
            .prop_filter("the first word is ours", Steps::begins_with_send)
            .prop_map(|steps| CheckKind::Udp { steps }),
        vec("[^\0]{0,12}", 0..3).prop_map(|mut words| {
            words.insert(0, "/bin/true".into());
            CheckKind::Exec { command: words.try_into().unwrap() }
        }),
    ]
}

fn check() -> impl Strategy<Value = Check> {
    let counts = (1u8.., 1u8.., select(vec![Health::Up, Health::Down, Health::Unknown]));
    let place = (spec(), any::<bool>()).prop_map(|(spec, port)| (spec.address, port.then_some(spec.port)));
    (kind(), 10u64..=3_600_000, 0u64..=100, option::of(0u64..=100), counts, place).prop_map(
        |(kind, interval, part, fast, (rise, fall, initial), (address, port))| {
            let millis = |millis: u64| format!("{}ms", millis.max(10)).parse().unwrap();
            Check {
                kind,
                address,
                port: port.and_then(|port| port.try_into().ok()),
                interval: millis(interval),
                fast_interval: fast.map(|part| millis(interval * part / 100)),
                timeout: millis(interval * part / 100),
                rise: rise.try_into().unwrap(),
                fall: fall.try_into().unwrap(),
                initial,
            }
        },
    )
}

fn member() -> impl Strategy<Value = Member> {
    let admin = option::of(select(vec![Admin::Ready, Admin::Drain, Admin::Maint]));
    let own = prop_oneof![
        4 => Just(None),
        1 => Just(Some(CheckOverride::Off)),
        1 => check().prop_map(|check| Some(CheckOverride::Own(check.into()))),
    ];
    (spec(), admin, own, any::<bool>()).prop_map(|(spec, admin, check, backup)| Member {
        spec,
        admin,
        check,
        backup,
    })
}

fn definition() -> impl Strategy<Value = Definition> {
    let listen = (spec(), any::<bool>()).prop_map(|(spec, udp)| crate::model::Listen {
        address: spec.address,
        port: spec.port,
        protocol: if udp { crate::model::Protocol::Udp } else { crate::model::Protocol::Tcp },
    });
    let engine = select(vec![EngineKind::Ebpf, EngineKind::Iptables]).prop_map(EngineChoice::Only);
    let description = option::of("[^\\p{Cc}]{1,40}");
    (name(), vec(listen, 1..3), vec(member(), 0..12), options(), engine, description, option::of(check()))
        .prop_map(|(name, listen, instances, options, engine, description, check)| Definition {
            name: name.parse().unwrap(),
            listen,
            instances,
            options,
            engine,
            description: description.map(|text| text.parse().unwrap()),
            check,
        })
}

/// Services that can be attached side by side, one at least: a file without any is refused.
fn definitions() -> impl Strategy<Value = Vec<Definition>> {
    let sound = |definitions: Vec<Definition>| {
        let mut sound: Vec<Definition> = Vec::new();
        for definition in definitions {
            sound.push(definition);
            let twice = sound.iter().filter(|it| it.name == sound[sound.len() - 1].name).count() > 1;
            if twice || !problems(&sound).is_empty() {
                sound.pop();
            }
        }
        sound
    };
    vec(definition(), 1..5).prop_map(sound).prop_filter("one is sound", |sound| !sound.is_empty())
}

proptest! {
    #[test]
    fn what_is_exported_makes_the_same_again(definitions in definitions()) {
        let wanted = applied(&definitions);
        let text = export(&wanted);
        let read = toml(&text).map_err(TestCaseError::fail)?;
        let again = applied(&read);
        prop_assert_eq!(export(&again), text.as_str());
        for (name, service) in &wanted.services {
            let back = &again.services[name];
            let states = |service: &crate::model::Service| -> Vec<_> {
                let instances = service.instances.iter();
                instances.map(|it| (it.spec.clone(), it.admin, it.check.clone(), it.backup)).collect()
            };
            prop_assert_eq!(states(service), states(back));
            prop_assert_eq!(
                (&service.listen, service.options, &service.check, &service.description, service.engine),
                (&back.listen, back.options, &back.check, &back.description, back.engine)
            );
        }
        // And where they are attached, nothing changes.
        let mut same = wanted.clone();
        let services: Vec<Assigned> = read
            .into_iter()
            .map(|it| {
                let engine = wanted.services[&it.name].engine;
                Assigned { engine, ..it.into() }
            })
            .collect();
        let said = Change::Apply { services, prune: false }.apply(&mut same).unwrap();
        prop_assert!(said.lines().all(|line| line.ends_with(": as wanted")), "{}", said);
        prop_assert_eq!(same, wanted);
    }

    #[test]
    fn state_file_survives_a_round_trip(definitions in definitions()) {
        let wanted = applied(&definitions);
        let text = serde_json::to_string_pretty(&wanted).unwrap();
        prop_assert_eq!(serde_json::from_str::<Wanted>(&text).unwrap(), wanted);
    }

    #[test]
    fn no_state_file_panics(text in "\\PC*", cut in any::<prop::sample::Index>(), definitions in definitions()) {
        drop(serde_json::from_str::<Wanted>(&text));
        let mut whole = serde_json::to_string(&applied(&definitions)).unwrap();
        let mut at = cut.index(whole.len());
        while !whole.is_char_boundary(at) {
            at -= 1;
        }
        whole.replace_range(at..at, &text);
        drop(serde_json::from_str::<Wanted>(&whole));
    }

    #[test]
    fn no_text_panics(words in vec(select(WORDS.as_slice()), 0..40), noise in "\\PC*", at in any::<prop::sample::Index>()) {
        let mut words: Vec<&str> = words;
        words.insert(at.index(words.len() + 1), &noise);
        let text = words.concat();
        drop(toml(&text));
        drop(wocut("web", &text));
    }
}

/// Pieces of both notations.
const WORDS: [&str; 44] = [
    "[service.web]\n",
    "[service]\n",
    "[[service]]\n",
    "service.web.",
    "listen",
    "instances",
    "policy",
    "check",
    "engine",
    "guard",
    "sticky_prefix",
    "admin",
    "port",
    "name",
    " = ",
    "=",
    "[",
    "]",
    "{ ",
    " }",
    ", ",
    "\n",
    "\"",
    "'",
    "8001",
    "-1",
    "1e9",
    "true",
    "\"80/tcp\"",
    "\"8002*3\"",
    "\"127.0.0.1\"",
    "\"http\"",
    "\"2s\"",
    "type",
    "proto: tcp\n",
    "inport: 80\n",
    "markports: [9000]\n",
    "markports:\n  - ",
    ": ",
    "\n  ",
    "- ",
    "#",
    "blockdirect: ",
    "\t",
];
