//! What is wanted in tests of this room.

use crate::{
    model::{EngineKind, Options, Policy, Wanted},
    plan::Change,
};

/// `web` on `80/tcp` with the instances `a` and `b`.
pub(super) fn wanted() -> Wanted {
    let mut wanted = Wanted::empty(None);
    let change = Change::Attach {
        name: "web".parse().unwrap(),
        listen: vec!["80/tcp".parse().unwrap()],
        instances: ["a=127.0.0.1:8001", "b=8002*3"].map(|text| text.parse().unwrap()).into(),
        options: Options { policy: Policy::RoundRobin, ..Options::default() },
        engine: EngineKind::Ebpf,
        engine_reason: None,
        force: false,
    };
    change.apply(&mut wanted).unwrap();
    wanted
}
