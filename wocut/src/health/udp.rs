//! Whether an instance says what it should in datagrams, or at least has a socket for them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use tokio::net::UdpSocket;

use super::{Failure, Target};
use crate::model::{Step, Steps};

/// The socket is connected, so that the kernel tells of the ICMP message that nobody is there.
pub(super) async fn ask(steps: &Steps, target: &Target) -> Result<(), Failure> {
    let place = target.place();
    let any: IpAddr = match place.ip() {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).await.map_err(Failure::Unasked)?;
    socket.connect(place).await.map_err(Failure::of_connect)?;
    // A port that is free may be the very one that nobody has.
    if socket.local_addr().is_ok_and(|own| own == place) {
        return Err(Failure::Refused);
    }
    for step in steps {
        match step {
            Step::Send(payload) => {
                socket.send(payload.bytes()).await.map_err(Failure::of_talk)?;
            }
            Step::Expect(pattern) => {
                let answer = hear(&socket).await?;
                if !pattern.matches(&answer) {
                    return Err(Failure::of_answer(&answer, pattern));
                }
            }
        }
    }
    if steps.ends_in_send() {
        // Whatever comes will do, and so will nothing until the timeout.
        hear(&socket).await?;
    }
    Ok(())
}

/// One datagram.
async fn hear(socket: &UdpSocket) -> Result<Vec<u8>, Failure> {
    // None is longer.
    let mut datagram = Vec::with_capacity(64 * 1024);
    socket.recv_buf(&mut datagram).await.map_err(Failure::of_talk)?;
    Ok(datagram)
}

#[cfg(test)]
mod tests {
    use tokio::{join, net::UdpSocket};

    use super::super::{Failure, Target, ask, patient};
    use crate::model::{Check, CheckKind, Step, Steps};

    fn check(steps: Steps) -> Check {
        patient(CheckKind::Udp { steps })
    }

    fn steps(send: &str, expect: &str) -> Steps {
        vec![Step::Send(send.parse().unwrap()), Step::Expect(expect.parse().unwrap())].try_into().unwrap()
    }

    async fn socket() -> (UdpSocket, Target) {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let target = Target::at(socket.local_addr().unwrap());
        (socket, target)
    }

    #[tokio::test]
    async fn answer_is_compared() {
        let (socket, target) = socket().await;
        for (expected, good) in [("pong%00", true), ("ping*", false)] {
            let check = check(steps("ping%FF", expected));
            let serve = async {
                let mut heard = [0; 16];
                let (length, from) = socket.recv_from(&mut heard).await.unwrap();
                assert_eq!(&heard[..length], b"ping\xff");
                socket.send_to(b"pong\0", from).await.unwrap();
            };
            let (outcome, ()) = join!(ask(&check, &target), serve);
            match outcome {
                Ok(()) => assert!(good),
                Err(failure) => assert_eq!(
                    (failure.to_string(), good),
                    ("answered `pong\\x00`, not `ping*`".into(), false)
                ),
            }
        }
    }

    #[tokio::test]
    async fn nobody_there_is_refused_by_icmp() {
        let (socket, target) = socket().await;
        drop(socket);
        for steps in [Steps::default(), steps("a", "b")] {
            let failure = ask(&check(steps), &target).await.unwrap_err();
            assert!(matches!(failure, Failure::Refused), "{failure}");
        }
    }

    #[tokio::test]
    async fn silence_is_good_only_where_nothing_is_expected() {
        let (_socket, target) = socket().await;
        let short = |steps| Check { timeout: "20ms".parse().unwrap(), ..check(steps) };
        ask(&short(Steps::default()), &target).await.unwrap();
        let failure = ask(&short(steps("a", "b")), &target).await.unwrap_err();
        assert_eq!(failure.to_string(), "no answer within 20ms");
    }
}
