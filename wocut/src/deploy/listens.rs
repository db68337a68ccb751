//! Waits until a program listens.

use std::{net::IpAddr, time::Duration};

use anyhow::Context as _;
use tokio::time::sleep;

use crate::{
    model::Protocol,
    sys::{
        bind_events::BindEvents,
        listen_events::ListenEvents,
        listeners::{self, Listener},
    },
};

/// How often it is looked, where the kernel does not tell.
const LOOK: Duration = Duration::from_millis(10);
/// The same, where it does: of another namespace's port of that number it tells as well.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// It tells a moment before the socket can be found: from then on each pause is twice the one before.
const MOMENT: Duration = Duration::from_millis(1);

/// Waits until there is a socket of each of these protocols on a port. Gives an address of it.
pub(super) async fn listens(protocols: &[Protocol], port: u16) -> anyhow::Result<IpAddr> {
    wait(protocols, port, Events::of(protocols, port).ok(), found).await
}

/// A socket of that protocol that takes what comes to that port from anywhere.
fn found(protocol: Protocol, port: u16) -> anyhow::Result<Option<IpAddr>> {
    let all = match protocol {
        Protocol::Tcp => listeners::tcp()?,
        Protocol::Udp => listeners::udp()?,
    };
    let one = all.into_iter().find(|it| it.port == port && !it.bound_to_device);
    Ok(one.as_ref().map(Listener::reachable_at))
}

async fn wait(
    protocols: &[Protocol],
    port: u16,
    events: Option<Events>,
    mut look: impl FnMut(Protocol, u16) -> anyhow::Result<Option<IpAddr>>,
) -> anyhow::Result<IpAddr> {
    let mut pause = LOOK_AGAIN;
    loop {
        let found: Option<Vec<IpAddr>> =
            protocols.iter().map(|protocol| look(*protocol, port)).collect::<anyhow::Result<_>>()?;
        if let Some(found) = found {
            return found.first().copied().context("a service takes TCP or UDP");
        }
        match &events {
            None => sleep(LOOK).await,
            Some(events) => tokio::select! {
                told = events.next() => {
                    told?;
                    pause = MOMENT;
                }
                () = sleep(pause) => pause = LOOK_AGAIN.min(2 * pause),
            },
        }
    }
}

/// What the kernel tells, of each protocol that is waited for.
struct Events {
    tcp: Option<ListenEvents>,
    udp: Option<BindEvents>,
}

impl Events {
    fn of(protocols: &[Protocol], port: u16) -> anyhow::Result<Self> {
        let tcp = protocols.contains(&Protocol::Tcp).then(|| ListenEvents::of(port)).transpose()?;
        let udp = protocols.contains(&Protocol::Udp).then(|| BindEvents::of(port)).transpose()?;
        Ok(Self { tcp, udp })
    }

    async fn next(&self) -> anyhow::Result<()> {
        tokio::select! {
            Some(told) = async { Some(self.tcp.as_ref()?.next().await) } => Ok(told?),
            Some(told) = async { Some(self.udp.as_ref()?.next().await) } => Ok(told?),
            else => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        cell::Cell,
        net::{TcpListener, UdpSocket},
        time::Duration,
    };

    use tokio::time::sleep;

    use super::{Events, found, wait};
    use crate::model::Protocol;

    #[tokio::test]
    async fn nobody_looks_for_a_socket_before_the_kernel_tells_of_it() {
        const PROTOCOLS: [Protocol; 2] = [Protocol::Tcp, Protocol::Udp];
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let events = match Events::of(&PROTOCOLS, port) {
            Ok(events) => events,
            Err(why) => {
                assert!(!rustix::process::geteuid().is_root(), "{why:#}");
                return;
            }
        };
        let looks = Cell::new(0);
        let look = |protocol, port| {
            looks.set(looks.get() + 1);
            found(protocol, port)
        };
        let server = async {
            sleep(Duration::from_millis(300)).await;
            let before = looks.get();
            let bound = (TcpListener::bind(("::1", port)).unwrap(), UdpSocket::bind(("::", port)).unwrap());
            (before, bound)
        };
        let (address, (before, _bound)) = tokio::join!(wait(&PROTOCOLS, port, Some(events), look), server);
        assert_eq!(address.unwrap(), std::net::Ipv6Addr::LOCALHOST);
        // Without its word there are 30.
        assert!(before < 5, "{before}");
    }
}
