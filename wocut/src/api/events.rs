//! `/_events`: what happens, as it happens, as server-sent events.

use std::{convert::Infallible, time::Duration};

use axum::{body::Body, extract::State, response::Response};
use bytes::Bytes;
use futures_util::stream;
use tokio::{
    select,
    sync::{
        broadcast::{Receiver, error::RecvError},
        watch,
    },
    time::sleep,
};

use super::{Api, answer::text, connection::over};
use crate::daemon::Noted;

/// A silent stream says something after this long, so that nobody on the way takes it for dead.
const SILENCE: Duration = Duration::from_secs(15);

/// What happens from now on: `changed`, `health`, `seen`, `empty`, `repaired`, `failed`; and `missed`, with how many, to a
/// listener that is too slow.
#[utoipa::path(get, path = "/_events", tag = "daemon",
    responses((status = 200, body = String, content_type = "text/event-stream")))]
pub(super) async fn events(State(api): State<Api>) -> Response {
    let heard = (api.daemon.events(), api.ending.clone(), true);
    let lines = stream::unfold(heard, |(mut events, mut ending, is_first)| async move {
        // A client sees at once that it is heard.
        let line =
            if is_first { Some(": listening\n\n".into()) } else { next(&mut events, &mut ending).await };
        line.map(|line| (Ok::<_, Infallible>(Bytes::from(line)), (events, ending, false)))
    });
    text("text/event-stream", Body::from_stream(lines))
}

/// What is sent next; nothing when the daemon ends.
async fn next(events: &mut Receiver<Noted>, ending: &mut watch::Receiver<bool>) -> Option<String> {
    select! {
        () = over(ending) => None,
        () = sleep(SILENCE) => Some(": still here\n\n".into()),
        event = events.recv() => match event {
            Ok(noted) => Some(said(&noted)),
            Err(RecvError::Lagged(missed)) => {
                Some(format!("event: missed\ndata: {{\"event\":\"missed\",\"missed\":{missed}}}\n\n"))
            }
            Err(RecvError::Closed) => None,
        },
    }
}

/// An event. JSON has no line breaks, so it is one line.
fn said(noted: &Noted) -> String {
    let value = serde_json::to_value(noted).unwrap_or_default();
    let name = value["event"].as_str().unwrap_or("other");
    format!("event: {name}\ndata: {value}\n\n")
}

#[cfg(test)]
mod tests {
    use tokio::sync::{broadcast, watch};

    use super::next;
    use crate::daemon::{Event, Noted};

    fn changed(what: &str) -> Noted {
        Noted::now(Event::Changed { who: "me".into(), what: what.into() })
    }

    #[tokio::test(start_paused = true)]
    async fn listener_hears_what_happens_and_what_it_missed() {
        let (events, mut heard) = broadcast::channel(2);
        let (end, mut ending) = watch::channel(false);
        events.send(changed("two\nlines")).unwrap();
        let first = next(&mut heard, &mut ending).await.unwrap();
        assert!(first.starts_with("event: changed\ndata: {") && first.ends_with("}\n\n"), "{first}");
        assert_eq!(first.lines().count(), 3, "{first}");

        for _ in 0..5 {
            events.send(changed("more")).unwrap();
        }
        let missed = next(&mut heard, &mut ending).await.unwrap();
        assert!(missed.contains("\"missed\":3"), "{missed}");
        next(&mut heard, &mut ending).await.unwrap();
        next(&mut heard, &mut ending).await.unwrap();
        assert!(next(&mut heard, &mut ending).await.unwrap().starts_with(": "));

        end.send_replace(true);
        assert_eq!(next(&mut heard, &mut ending).await, None);
    }
}
