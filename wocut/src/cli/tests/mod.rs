//! What commands print, to the letter: of fixed values, by what prints them, with no kernel to look at.

mod changes;
mod cluster;
mod errors;
mod looks;
mod status;
mod words;

use std::{
    io::{self, Write},
    sync::{Arc, Mutex},
};

use super::printer::Printer;
use crate::{
    model::{EngineKind, Options, Service, Wanted},
    plan::Change,
};

/// What is printed as text.
fn text<T>(print: impl FnOnce(&Printer) -> T) -> String {
    printed(&Printing::default(), print)
}

fn json<T>(print: impl FnOnce(&Printer) -> T) -> String {
    printed(&Printing { json: true, ..Printing::default() }, print)
}

fn quiet<T>(print: impl FnOnce(&Printer) -> T) -> String {
    printed(&Printing { quiet: true, ..Printing::default() }, print)
}

/// With `^[` for what begins a colour.
fn coloured<T>(print: impl FnOnce(&Printer) -> T) -> String {
    printed(&Printing { color: true, ..Printing::default() }, print).replace('\x1b', "^[")
}

#[derive(Default)]
struct Printing {
    json: bool,
    quiet: bool,
    color: bool,
}

/// Both streams in one; lines of standard error begin with `2> `.
fn printed<T>(how: &Printing, print: impl FnOnce(&Printer) -> T) -> String {
    let paper = Arc::new(Mutex::new(String::new()));
    let stream = |mark| Stream { paper: Arc::clone(&paper), mark };
    let _result = print(&Printer::to(how.json, how.quiet, how.color, stream(""), stream("2> ")));
    let text = paper.lock().unwrap();
    text.clone()
}

struct Stream {
    paper: Arc<Mutex<String>>,
    mark: &'static str,
}

impl Write for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = str::from_utf8(bytes).unwrap();
        let lines = text.split_inclusive('\n').flat_map(|line| [self.mark, line]);
        self.paper.lock().unwrap().extend(lines);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `web` on 80/tcp, with these instances, which have the numbers 1, 2 and so on, and `dns` on 53/udp of rules.
pub(super) fn wanted(options: Options, instances: &[&str]) -> Wanted {
    let mut wanted = Wanted::empty(None);
    for (name, listen, engine, instances) in
        [("web", "80/tcp", EngineKind::Ebpf, instances), ("dns", "53/udp", EngineKind::Iptables, &["5301"])]
    {
        let attach = Change::Attach {
            name: name.parse().unwrap(),
            listen: vec![listen.parse().unwrap()],
            instances: instances.iter().map(|instance| instance.parse().unwrap()).collect(),
            options,
            engine,
            engine_reason: None,
            force: false,
        };
        attach.apply(&mut wanted).unwrap();
    }
    wanted
}

/// `web` of these.
fn web(wanted: &Wanted) -> &Service {
    &wanted.services["web"]
}
