//! Whom a connection would go to: the programs' own answer.

use std::net::SocketAddr;

use anyhow::{Context as _, ensure};
use aya::{
    TestRun as _,
    programs::{SchedClassifier, TestRunOptions},
};
use bytes::{Buf as _, BufMut as _};
use wocut_common::{Candidate, Explain, Register, maps};

use super::{
    Ebpf, load, pins,
    rows::{family_and_bytes, number},
};
use crate::model::Protocol;

/// Whether an instance would take the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It would.
    Ready,
    /// It has no listener for it.
    Absent,
    /// Its accept queue is full.
    Full,
}

/// Ids of instances and their answers, in the order in which they would be asked; each once.
pub fn explain(
    engine: &Ebpf<'_>,
    protocol: Protocol,
    from: SocketAddr,
    to: SocketAddr,
) -> anyhow::Result<Vec<(u32, Answer)>> {
    ensure!(pins::is_complete(&engine.pins, engine.netns)?, "the ebpf engine is not loaded here");
    let with_flows = engine.pins.join(maps::FLOWS).exists();
    let mut object = load::object(&engine.pins, engine.netns, with_flows)?;
    let program: &mut SchedClassifier = load::program(&mut object, "explain")?;
    program.load().context("load program explain")?;

    let question = question(protocol, from, to);
    let mut answer = vec![0; question.len()];
    let options =
        TestRunOptions { data_in: Some(&question), data_out: Some(&mut answer), ..TestRunOptions::new() };
    program.test_run(options).context("run program explain")?;
    let mut order: Vec<(u32, Answer)> = Vec::new();
    for mut candidate in answer[size_of::<Explain>()..].chunks_exact(size_of::<Candidate>()) {
        let (instance, outcome) = (candidate.get_u32_ne(), candidate.get_u32_ne());
        if instance != 0 && order.iter().all(|(known, _)| *known != instance) {
            let answer = match outcome {
                0 => Answer::Ready,
                2 => Answer::Full,
                _ => Answer::Absent,
            };
            order.push((instance, answer));
        }
    }
    Ok(order)
}

/// An [`Explain`], and room for the answer.
fn question(protocol: Protocol, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    let room = Explain::CANDIDATES * size_of::<Candidate>();
    let mut question = Vec::with_capacity(size_of::<Explain>() + room);
    question.put_bytes(0, 12);
    question.put_slice(&Register::ETHERTYPE);
    question.put_u16_ne(from.port());
    let (family, remote) = family_and_bytes(Some(from.ip()));
    question.put_slice(&remote);
    question.put_slice(&family_and_bytes(Some(to.ip())).1);
    question.put_u16_ne(to.port());
    question.put_u8(family);
    question.put_u8(number(protocol));
    question.put_bytes(0, room);
    question
}
