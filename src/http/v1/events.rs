//! The live stream.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use http::{HeaderName, Method, header};

use super::{Access, Answer, Code, Parameter, Route, now};
use crate::app::App;
use crate::app::events::{self, Ended, Reader, Wanted};
use crate::app::instances::parse_id;
use crate::domain::access::Scope;
use crate::domain::error::{Error, FieldProblem};
use crate::domain::event::{EventFilter, EventName};
use crate::domain::id::EventId;
use crate::http::call::Call;
use crate::http::reply::Reply;
use crate::sys::clock::{self, Moment};

/// A comment goes out this often, traffic or not, so that proxies and clients know that the stream lives.
const COMMENT_EVERY: Duration = Duration::from_secs(25);

/// The first bytes: a client knows at once that it is connected, and how soon to come back when it is not.
const GREETING: &[u8] = b": connected\nretry: 2000\n\n";

const COMMENT: &[u8] = b": keepalive\n\n";

/// Events as they happen.
pub const SUBSCRIBE: Route = Route {
    method: Method::GET,
    path: "/v1/events",
    id: "events.subscribe",
    summary: "Events as they happen, as a stream of server-sent events; resumes after Last-Event-ID",
    access: Access::Stream(Scope::EventsRead),
    query: &[
        Parameter {
            name: "instance_id",
            what: "Only events of this instance",
        },
        Parameter {
            name: "events",
            what: "Only these events, separated by commas",
        },
        Parameter {
            name: "since",
            what: "The last event_id seen: what was missed comes first. The header Last-Event-ID wins over it",
        },
        Parameter {
            name: "token",
            what: "A key or stream token, for browsers, which cannot set headers here",
        },
    ],
    body: None,
    answer: Answer::Other("text/event-stream"),
    errors: &[Code::InstanceNotFound, Code::InstanceAccessDenied, Code::TooManyStreams],
    handler: |app, call| now(subscribe(&app, &call)),
};

fn subscribe(app: &App, call: &Call) -> Result<Reply, Error> {
    let wanted = wanted(call)?;
    let reader = events::subscribe(app, &call.caller, wanted)?;
    Ok(Reply::stream("text/event-stream", pieces(reader))
        .with(header::CACHE_CONTROL, "no-store")
        .with(HeaderName::from_static("x-accel-buffering"), "no"))
}

fn wanted(call: &Call) -> Result<Wanted, Error> {
    let mut problems = Vec::new();
    let mut names = Vec::new();
    let listed = call.query("events").unwrap_or_default();
    for name in listed.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        match read_name(name) {
            Ok(name) => names.push(name),
            Err(problem) => problems.push(FieldProblem::new("query.events", problem)),
        }
    }
    // Browsers send the header after a break and keep the address; so the header is the newer of the two.
    let resume_after = match (call.header("last-event-id"), call.query("since")) {
        (Some(id), _) if !id.is_empty() => read_id("header.Last-Event-ID", id, &mut problems),
        (_, Some(id)) if !id.is_empty() => read_id("query.since", id, &mut problems),
        _ => None,
    };
    if !problems.is_empty() {
        return Err(Error::validation(&problems));
    }
    let instance = call.query("instance_id").map(parse_id).transpose()?;
    Ok(Wanted {
        instance,
        filter: EventFilter::ALL.of_names(&names),
        resume_after,
    })
}

fn read_id(path: &str, text: &str, problems: &mut Vec<FieldProblem>) -> Option<EventId> {
    let id = EventId::parse(text);
    if id.is_none() {
        problems.push(FieldProblem::new(
            path,
            "must be an event_id as the stream gave it, evt_…",
        ));
    }
    id
}

/// Reads an event's name; the problem names those there are.
pub fn read_name(text: &str) -> Result<EventName, String> {
    EventName::parse(text).ok_or_else(|| {
        let given: String = text.chars().take(64).collect();
        let known: Vec<&str> = EventName::ALL.iter().map(|name| name.as_str()).collect();
        format!("{given:?} is no event; there are: {}", known.join(", "))
    })
}

/// One open stream. The timer stands beside the reader, so that a piece of traffic costs no new timer.
struct Live {
    reader: Reader,
    comment_at: Moment,
    timer: Pin<Box<dyn Future<Output = ()> + Send>>,
    greeted: bool,
}

/// The bytes of a stream; raw, since an event was encoded once for everybody.
fn pieces(reader: Reader) -> impl Stream<Item = Bytes> + Send {
    let comment_at = clock::moment().plus(COMMENT_EVERY);
    let live = Live {
        reader,
        comment_at,
        timer: Box::pin(clock::sleep_until(comment_at)),
        greeted: false,
    };
    futures_util::stream::unfold(Some(live), async |live| {
        let mut live = live?;
        match live.next().await {
            Ok(piece) => Some((piece, Some(live))),
            Err(ended) => Some((farewell(&ended), None)),
        }
    })
}

impl Live {
    async fn next(&mut self) -> Result<Bytes, Ended> {
        if !self.greeted {
            self.greeted = true;
            return Ok(Bytes::from_static(GREETING));
        }
        tokio::select! {
            biased;
            () = &mut self.timer => {
                // Counted from when it was due, so that comments do not drift; after a jump of the clock, from now.
                let now = clock::moment();
                let next = self.comment_at.plus(COMMENT_EVERY);
                self.comment_at = if next > now { next } else { now.plus(COMMENT_EVERY) };
                self.timer = Box::pin(clock::sleep_until(self.comment_at));
                Ok(Bytes::from_static(COMMENT))
            }
            piece = self.reader.next() => piece,
        }
    }
}

/// The last comment tells a person with curl why it is over; programs just come back.
fn farewell(ended: &Ended) -> Bytes {
    Bytes::from_static(match ended {
        Ended::Closed => b": the gateway is stopping\n\n",
        Ended::TooSlow => b": cut, because events came faster than they were read; resume with Last-Event-ID\n\n",
        Ended::Revoked => b": the key was revoked, or the sign-in has ended\n\n",
        Ended::Expired => b": the key, token or sign-in has expired\n\n",
        Ended::Failed(error) => {
            tracing::error!(
                error = error as &dyn std::error::Error,
                "a stream ended because the journal failed"
            );
            b": the journal cannot be read\n\n"
        }
    })
}
