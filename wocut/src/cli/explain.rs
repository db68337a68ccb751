//! `wocut explain NAME --from ADDR:PORT`

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use anyhow::{Context as _, bail};
use clap::Args;
use serde::Serialize;

use super::{
    Context,
    printer::{Align, Printer, Style, Table},
};
use crate::{
    engine::ebpf::{
        Ebpf,
        explain::{Answer, explain},
    },
    error::Usage,
    host::service,
    model::{EngineKind, Listen, Name, OnEmpty, Policy, Service},
};

/// Say which instance a client would get, and which after that one, by asking the programs themselves
#[derive(Args, Debug)]
#[command(after_long_help = "Examples:
  wocut explain web --from 192.0.2.7:40000
  wocut explain web --from [2001:db8::7]:40000 --to [2001:db8::1]:80")]
pub(super) struct Explain {
    /// Name of the service
    name: Name,
    /// The client
    #[arg(long, value_name = "ADDR:PORT")]
    from: SocketAddr,
    /// Where it connects to, if not to the service's first LISTEN at the address that this host would answer from
    #[arg(long, value_name = "ADDR:PORT")]
    to: Option<SocketAddr>,
}

/// One whom the pick would ask.
#[derive(Serialize)]
struct Asked<'a> {
    instance: &'a Name,
    answer: &'static str,
}

#[derive(Serialize)]
pub(super) struct Explained<'a> {
    schema: u32,
    service: &'a Name,
    policy: Policy,
    from: SocketAddr,
    to: SocketAddr,
    takes: Option<&'a Name>,
    otherwise: Option<OnEmpty>,
    order: Vec<Asked<'a>>,
}

impl Explain {
    pub(super) fn run(self, context: &Context<'_>) -> anyhow::Result<()> {
        let wanted = context.host.wanted()?;
        let service = service(&wanted, &self.name)?;
        if service.engine != EngineKind::Ebpf {
            bail!("service `{}` is on the iptables engine: only programs can be asked", self.name);
        }
        let from = SocketAddr::new(self.from.ip().to_canonical(), self.from.port());
        let (listen, to) = self.target(service, from)?;
        let order = explain(&Ebpf::new(context.host.netns()), listen.protocol, from, to)?;
        show(context.printer, &Explained::new(&self.name, service, (from, to), &order))
    }

    /// The LISTEN that the client would come to, and where.
    fn target(&self, service: &Service, from: SocketAddr) -> anyhow::Result<(Listen, SocketAddr)> {
        let fits = |listen: &&Listen| listen.addresses().any(|address| address.is_ipv4() == from.is_ipv4());
        let takes = |listen: &&Listen, to: SocketAddr| {
            let is_any = listen.address.is_none_or(|address| address.is_unspecified());
            fits(listen) && listen.port == to.port() && (is_any || listen.address == Some(to.ip()))
        };
        if let Some(to) = self.to {
            let listen = service.listen.iter().find(|listen| takes(listen, to));
            let listen =
                listen.ok_or_else(|| Usage(format!("service `{}` does not listen on {to}", self.name)))?;
            return Ok((*listen, to));
        }
        let listen = service.listen.iter().find(fits);
        let listen = listen
            .ok_or_else(|| Usage(format!("service `{}` does not take clients like {from}", self.name)))?;
        let address = match listen.address {
            Some(address) if !address.is_unspecified() => address,
            _ => nearest(from).with_context(|| format!("find the address that {from} reaches"))?,
        };
        Ok((*listen, SocketAddr::new(address, listen.port)))
    }
}

impl<'a> Explained<'a> {
    /// By the ids of the instances that were asked, and their answers.
    pub(super) fn new(
        name: &'a Name,
        service: &'a Service,
        (from, to): (SocketAddr, SocketAddr),
        order: &[(u32, Answer)],
    ) -> Self {
        let found = order.iter().filter_map(|(id, answer)| {
            let instance = service.instances.iter().find(|instance| instance.id == *id)?;
            Some((&instance.spec.name, *answer))
        });
        let found: Vec<(&Name, Answer)> = found.collect();
        let first =
            |wanted: Answer| found.iter().find(|(_, answer)| *answer == wanted).map(|(name, _)| *name);
        // One whose accept queue is full is better than none.
        let takes = first(Answer::Ready).or_else(|| first(Answer::Full));
        let order =
            found.iter().map(|(instance, answer)| Asked { instance, answer: word(*answer) }).collect();
        Self {
            schema: 1,
            service: name,
            policy: service.options.policy,
            from,
            to,
            takes,
            otherwise: takes.is_none().then_some(service.options.on_empty),
            order,
        }
    }
}

/// The address of this host that a client sees, by the routes.
fn nearest(client: SocketAddr) -> std::io::Result<IpAddr> {
    let any: IpAddr =
        if client.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(client)?;
    Ok(socket.local_addr()?.ip())
}

fn word(answer: Answer) -> &'static str {
    match answer {
        Answer::Ready => "ready",
        Answer::Absent => "not listening",
        Answer::Full => "accept queue full",
    }
}

pub(super) fn show(printer: &Printer, explained: &Explained<'_>) -> anyhow::Result<()> {
    if printer.json() {
        return printer.object(explained);
    }
    let Explained { service, policy, from, to, takes, otherwise, order, .. } = explained;
    let outcome = match (takes, otherwise) {
        (Some(name), _) => format!("goes to {name}"),
        (None, Some(OnEmpty::Pass)) => "finds no instance: it is for whatever listens there itself".into(),
        (None, Some(OnEmpty::Drop)) => "finds no instance, and is dropped".into(),
        (None, _) => "finds no instance, and is refused".into(),
    };
    printer.line(&format!("{service}: {from} to {to}, by {policy}, {outcome}"))?;
    let mut table = Table::new(&[("", Align::Right), ("INSTANCE", Align::Left), ("ANSWER", Align::Left)]);
    for (n, asked) in (1..).zip(order) {
        let style = if asked.answer == word(Answer::Ready) { Style::Plain } else { Style::Bad };
        table.styled_row(style, [n.to_string(), asked.instance.to_string(), asked.answer.into()]);
    }
    printer.table(&table)
}
