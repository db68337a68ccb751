//! Whether an instance says what it should, on a connection.

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use super::{Failure, Target, tcp, tls};
use crate::model::{Pattern, Step, Steps, Tls};

/// Bytes of an answer at most: more are not looked through over and over.
const MAX: usize = 16 * 1024;

pub(super) async fn ask(steps: &Steps, tls: Option<&Tls>, target: &Target) -> Result<(), Failure> {
    let stream = tcp::connect(target).await?;
    if steps.ends_in_send() {
        // A reset could overtake the last word.
        rustix::net::sockopt::set_socket_linger(&stream, None)
            .map_err(|error| Failure::Unasked(error.into()))?;
    }
    match tls {
        None => talk(steps, stream).await,
        Some(tls) => talk(steps, tls::wrap(stream, tls, None, target).await?).await,
    }
}

async fn talk(steps: &Steps, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> Result<(), Failure> {
    for step in steps {
        match step {
            Step::Send(payload) => {
                stream.write_all(payload.bytes()).await.map_err(Failure::of_talk)?;
                stream.flush().await.map_err(Failure::of_talk)?;
            }
            Step::Expect(pattern) => hear(pattern, &mut stream).await?,
        }
    }
    if steps.ends_in_send() {
        stream.shutdown().await.map_err(Failure::of_talk)?;
    }
    Ok(())
}

/// Reads until what came is like the pattern, or cannot become so.
async fn hear(pattern: &Pattern, stream: &mut (impl AsyncRead + Unpin)) -> Result<(), Failure> {
    let mut heard = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut heard).await.map_err(Failure::of_talk)? == 0 {
            let nothing = heard.is_empty();
            return Err(if nothing { Failure::Closed } else { Failure::of_answer(&heard, pattern) });
        }
        if pattern.matches(&heard) {
            return Ok(());
        }
        if !pattern.may_match(&heard) || heard.len() >= MAX {
            return Err(Failure::of_answer(&heard, pattern));
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
        join,
        net::TcpListener,
    };

    use super::super::{Failure, Target, ask, patient, tls::server};
    use crate::model::{CheckKind, Step, Steps, Tls};

    fn steps(steps: &[(&str, &str)]) -> Steps {
        let step = |(verb, text): &(&str, &str)| match *verb {
            "send" => Step::Send(text.parse().unwrap()),
            _ => Step::Expect(text.parse().unwrap()),
        };
        steps.iter().map(step).collect::<Vec<_>>().try_into().unwrap()
    }

    /// Says each, and hears as many bytes in between. Returns all that was heard, to the end.
    async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, script: &[(&[u8], usize)]) -> Vec<u8> {
        let mut heard = Vec::new();
        for (say, hear) in script {
            stream.write_all(say).await.unwrap();
            stream.flush().await.unwrap();
            let mut part = vec![0; *hear];
            stream.read_exact(&mut part).await.unwrap();
            heard.extend(part);
        }
        heard
    }

    async fn asked(steps: Steps, script: &[(&[u8], usize)]) -> (Result<(), Failure>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::at(listener.local_addr().unwrap());
        let check = patient(CheckKind::SendExpect { steps, tls: None });
        let served = async { serve(listener.accept().await.unwrap().0, script).await };
        join!(ask(&check, &target), served)
    }

    #[tokio::test]
    async fn several_steps_are_taken_in_order() {
        let talk = steps(&[
            ("expect", "220 *%0D%0A"),
            ("send", "EHLO%20x%0D%0A"),
            ("expect", "250*"),
            ("send", "%00%FF"),
        ]);
        let (outcome, heard) = asked(talk, &[(b"220 mail\r\n", 8), (b"250 ok\r\n", 2)]).await;
        outcome.unwrap();
        assert_eq!(heard, b"EHLO x\r\n\0\xff");
    }

    #[tokio::test]
    async fn answer_may_come_in_pieces() {
        let talk = steps(&[("expect", "+OK%0D%0A"), ("send", "x")]);
        let script: [(&[u8], usize); 4] = [(b"+", 0), (b"O", 0), (b"K\r", 0), (b"\n", 1)];
        asked(talk, &script).await.0.unwrap();
    }

    #[tokio::test]
    async fn wrong_answers_are_told_at_once() {
        for (answer, said) in [
            (b"554 no\r\n".as_slice(), "answered `554 no\\r\\n`, not `220*ready`"),
            (b"220 x", "answered `220 x`, not `220*ready`"),
            (b"", "connection closed before an answer"),
            (&[b"220".as_slice(), &[b'x'; super::MAX]].concat(), "answered `220xxx"),
        ] {
            let (outcome, _) = asked(steps(&[("expect", "220*ready")]), &[(answer, 0)]).await;
            let failure = outcome.unwrap_err().to_string();
            assert!(failure.starts_with(said), "{failure}");
        }
    }

    #[tokio::test]
    async fn the_same_works_under_tls() {
        let (acceptor, _) = server::acceptor();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Target::at(listener.local_addr().unwrap());
        let tls = Some(Tls { verify: false, server_name: None });
        let steps = steps(&[("send", "PING%0A"), ("expect", "PONG%0A"), ("send", "QUIT%0A")]);
        let check = patient(CheckKind::SendExpect { steps, tls });
        let served = async {
            let stream = acceptor.accept(listener.accept().await.unwrap().0).await.unwrap();
            serve(stream, &[(b"", 5), (b"PONG\n", 5)]).await
        };
        let (outcome, heard) = join!(ask(&check, &target), served);
        outcome.unwrap();
        assert_eq!(heard, b"PING\nQUIT\n");
    }
}
