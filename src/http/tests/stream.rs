//! The live stream.

use std::time::Duration;

use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};

use super::{Running, answer, draft, header, refused};
use crate::domain::access::Caller;
use crate::domain::event::{Event, EventBody, Failure};
use crate::domain::id::{EventId, InstanceId};
use crate::domain::message::MessageId;
use crate::sys::clock;

/// One thing that a stream carried.
#[derive(Clone, PartialEq, Debug)]
pub enum Piece {
    Comment(String),
    Event { id: Option<String>, data: Value },
}

/// A client of the stream, with a parser of its own.
pub struct Client {
    response: Response,
    rest: String,
}

impl Client {
    pub async fn open(request: RequestBuilder) -> Client {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(header(&response, "content-type").unwrap(), "text/event-stream");
        assert_eq!(header(&response, "cache-control").unwrap(), "no-store");
        assert_eq!(header(&response, "x-accel-buffering").unwrap(), "no");
        assert_eq!(header(&response, "access-control-allow-origin").unwrap(), "*");
        let mut client = Client {
            response,
            rest: String::new(),
        };
        assert_eq!(client.next().await, Some(Piece::Comment("connected".into())));
        client
    }

    /// The next frame; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Piece> {
        let reading = async {
            loop {
                if let Some((frame, rest)) = self.rest.split_once("\n\n") {
                    let piece = parse(frame);
                    self.rest = rest.to_owned();
                    return Some(piece);
                }
                let chunk = self.response.chunk().await.unwrap()?;
                self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
            }
        };
        tokio::time::timeout(Duration::from_secs(20), reading)
            .await
            .expect("a frame or the end")
    }

    /// The next event, which must come before any comment but the one between past and present.
    pub async fn event(&mut self) -> (Option<String>, Value) {
        loop {
            match self.next().await {
                Some(Piece::Event { id, data }) => return (id, data),
                Some(Piece::Comment(comment)) if comment == "caught up" => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

/// A reader that stops reading is cut; what it did not get it finds in the journal. Nobody else notices.
#[tokio::test]
async fn a_reader_that_stops_reading_is_cut_and_nobody_else() {
    let site = Running::start().await;
    let instance = site.instance().await;
    let mut stalled = Client::open(site.request(Method::GET, "/v1/events")).await;
    let mut brisk = Client::open(site.request(Method::GET, "/v1/events")).await;
    // More than queue and socket buffers hold together, at a pace that a brisk reader keeps.
    let big = "x".repeat(100_000);
    let mut last = None;
    for count in 0.. {
        let event = Event {
            instance_id: instance,
            occurred_at: clock::now(),
            body: EventBody::MessageFailed {
                message_id: MessageId::from_wire(count.to_string()),
                to: big.clone(),
                client_ref: None,
                error: Failure {
                    code: "463".into(),
                    message: "x".into(),
                },
            },
        };
        last = Some(site.app.store.write(move |tx| tx.append_event(&event)).await.unwrap());
        assert_eq!(number(&brisk.event().await), count);
        if site.app.bus.cut() > 0 {
            break;
        }
        assert!(count < 1_000, "the reader was never cut");
    }
    let mut seen = None;
    loop {
        match stalled.next().await {
            Some(Piece::Event { id, .. }) => seen = id,
            Some(Piece::Comment(comment)) => assert!(comment.starts_with("cut"), "{comment}"),
            None => break,
        }
    }
    assert!(seen < last.map(|id| id.to_string()));
    let path = format!("/v1/events?since={}", seen.unwrap());
    let mut resumed = Client::open(site.request(Method::GET, &path)).await;
    while resumed.event().await.0 != last.map(|id| id.to_string()) {}
}

fn parse(frame: &str) -> Piece {
    if let Some(comment) = frame.strip_prefix(": ") {
        return Piece::Comment(comment.lines().next().unwrap().to_owned());
    }
    let mut lines: Vec<&str> = frame.lines().collect();
    let data = lines.pop().unwrap().strip_prefix("data: ").unwrap();
    let id = lines.pop().map(|line| line.strip_prefix("id: ").unwrap().to_owned());
    assert!(lines.is_empty(), "{frame}");
    Piece::Event {
        id,
        data: serde_json::from_str(data).unwrap(),
    }
}

async fn happen(site: &Running, instance: InstanceId, number: usize) -> EventId {
    let event = Event {
        instance_id: instance,
        occurred_at: clock::now(),
        body: EventBody::MessageFailed {
            message_id: MessageId::from_wire(number.to_string()),
            to: "5511999999999".into(),
            client_ref: None,
            error: Failure {
                code: "463".into(),
                message: "x".into(),
            },
        },
    };
    site.app.store.write(move |tx| tx.append_event(&event)).await.unwrap()
}

async fn qr_happens(site: &Running, instance: InstanceId, life: Duration) -> EventId {
    let event = Event {
        instance_id: instance,
        occurred_at: clock::now(),
        body: EventBody::QrUpdated {
            qr: "data:".into(),
            code: "c".into(),
            expires_at: clock::now().plus(life),
        },
    };
    site.app.store.write(move |tx| tx.append_event(&event)).await.unwrap()
}

fn number(event: &(Option<String>, Value)) -> usize {
    event.1["message_id"].as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn what_happens_is_told_at_once_with_its_id_and_only_to_whom_it_concerns() {
    let site = Running::start().await;
    let (one, two) = (site.instance().await, site.instance().await);
    let mut all = Client::open(site.request(Method::GET, "/v1/events")).await;
    let path = format!(
        "/v1/events?instance_id={two}&events=message.failed,message.sent&token={}",
        site.key
    );
    let mut narrow = Client::open(site.bare(Method::GET, &path)).await;
    let first = happen(&site, one, 1).await;
    qr_happens(&site, two, Duration::from_mins(1)).await;
    happen(&site, two, 2).await;
    let told = all.event().await;
    assert_eq!(told.0, Some(first.to_string()));
    assert_eq!(told.1["event"], "message.failed");
    assert_eq!(told.1["instance_id"], one.to_string());
    assert_eq!(all.event().await.1["event"], "qr.updated");
    assert_eq!(number(&all.event().await), 2);
    assert_eq!(number(&narrow.event().await), 2);
}

#[tokio::test]
async fn a_reader_that_comes_back_gets_what_it_missed_without_seam_or_duplicate() {
    let site = Running::start().await;
    let instance = site.instance().await;
    let mut ids = Vec::new();
    for count in 0..500 {
        ids.push(happen(&site, instance, count).await);
    }
    // More keeps happening while the reader catches up.
    let writer = {
        let app = site.app.clone();
        tokio::spawn(async move {
            for count in 500..1_000 {
                let event = Event {
                    instance_id: instance,
                    occurred_at: clock::now(),
                    body: EventBody::MessageFailed {
                        message_id: MessageId::from_wire(count.to_string()),
                        to: "5511999999999".into(),
                        client_ref: None,
                        error: Failure {
                            code: "1".into(),
                            message: "x".into(),
                        },
                    },
                };
                app.store.write(move |tx| tx.append_event(&event)).await.unwrap();
            }
        })
    };
    // The header wins over the address, in which a browser keeps the old id.
    let path = format!("/v1/events?since={}", ids[5]);
    let resumed = site
        .request(Method::GET, &path)
        .header("Last-Event-ID", ids[99].to_string());
    let mut reader = Client::open(resumed).await;
    for expected in 100..1_000 {
        assert_eq!(number(&reader.event().await), expected);
    }
    writer.await.unwrap();
    happen(&site, instance, 1_000).await;
    assert_eq!(number(&reader.event().await), 1_000);
}

#[tokio::test]
async fn an_expired_code_is_not_replayed() {
    let site = Running::start().await;
    let instance = site.instance().await;
    let start = happen(&site, instance, 0).await;
    qr_happens(&site, instance, Duration::ZERO).await;
    qr_happens(&site, instance, Duration::from_hours(1)).await;
    let mut reader = Client::open(site.request(Method::GET, &format!("/v1/events?since={start}"))).await;
    assert_eq!(reader.event().await.1["event"], "qr.updated");
    happen(&site, instance, 1).await;
    assert_eq!(number(&reader.event().await), 1);
}

#[tokio::test]
async fn a_journal_that_no_longer_reaches_back_says_so_and_goes_on() {
    let site = Running::start().await;
    let instance = site.instance().await;
    let ancient = EventId::from_u128(1);
    let future = EventId::from_u128(u128::MAX >> 1);
    happen(&site, instance, 1).await;
    let mut behind = Client::open(site.request(Method::GET, &format!("/v1/events?since={ancient}"))).await;
    let gap = behind.event().await;
    assert_eq!((gap.0, &gap.1["event"]), (None, &json!("stream.gap")));
    assert_eq!(number(&behind.event().await), 1);
    // An id from a journal that is not this one.
    let mut ahead = Client::open(site.request(Method::GET, &format!("/v1/events?since={future}"))).await;
    assert_eq!(ahead.event().await.1["event"], "stream.gap");
    happen(&site, instance, 2).await;
    assert_eq!(number(&ahead.event().await), 2);
    assert_eq!(number(&behind.event().await), 2);
}

#[tokio::test]
async fn a_stream_that_cannot_be_is_refused() {
    let site = Running::start().await;
    for (path, status, code) in [
        (
            "/v1/events?events=message.snet",
            StatusCode::BAD_REQUEST,
            "validation_failed",
        ),
        (
            "/v1/events?since=nonsense",
            StatusCode::BAD_REQUEST,
            "validation_failed",
        ),
        (
            "/v1/events?evnts=message.sent",
            StatusCode::BAD_REQUEST,
            "validation_failed",
        ),
        (
            "/v1/events?instance_id=inst_01J00000000000000000000000",
            StatusCode::NOT_FOUND,
            "instance_not_found",
        ),
    ] {
        refused(site.request(Method::GET, path), status, code).await;
    }
    let error = answer(
        site.request(Method::GET, "/v1/events?events=x"),
        StatusCode::BAD_REQUEST,
    )
    .await;
    assert!(error.to_string().contains("message.received"), "{error}");
}

#[tokio::test]
async fn revoking_a_key_ends_its_streams_and_nobody_elses() {
    let site = Running::start().await;
    let other = site.another_key(draft("other")).await;
    let open = || site.bare(Method::GET, "/v1/events").bearer_auth(&other.secret);
    let mut reader = Client::open(open()).await;
    let mut bystander = Client::open(site.request(Method::GET, "/v1/events")).await;
    site.app.keys.revoke(&Caller::OWNER, other.key.id).await.unwrap();
    assert_eq!(
        reader.next().await,
        Some(Piece::Comment("the key was revoked, or the sign-in has ended".into()))
    );
    assert_eq!(reader.next().await, None);
    let instance = site.instance().await;
    happen(&site, instance, 1).await;
    assert_eq!(number(&bystander.event().await), 1);
}

#[tokio::test]
async fn a_key_has_so_many_streams_and_a_closed_one_makes_room() {
    let site = Running::start_with(|setup| setup.app.max_streams_per_key = 2).await;
    let open = || site.request(Method::GET, "/v1/events");
    let first = Client::open(open()).await;
    let _second = Client::open(open()).await;
    refused(open(), StatusCode::TOO_MANY_REQUESTS, "too_many_streams").await;
    drop(first);
    // The server learns of the end when the socket closes.
    for _ in 0..200 {
        let limits = site.get("/v1/limits", StatusCode::OK).await;
        if limits["streams"]["open"] == 1 {
            break;
        }
        tokio::task::yield_now().await;
    }
    Client::open(open()).await;
}

#[tokio::test]
async fn stopping_the_site_ends_streams_cleanly() {
    let site = Running::start().await;
    let mut reader = Client::open(site.request(Method::GET, "/v1/events")).await;
    site.stop().await;
    assert_eq!(
        reader.next().await,
        Some(Piece::Comment("the gateway is stopping".into()))
    );
    assert_eq!(reader.next().await, None);
}

#[tokio::test]
async fn a_stream_token_opens_what_it_says_and_nothing_else() {
    let site = Running::start().await;
    let (one, two) = (site.instance().await, site.instance().await);
    let wanted = json!({"instance_id": one.to_string(), "events": ["message.failed"], "expires_in_seconds": 60});
    let made = site.post("/v1/stream-tokens", &wanted, StatusCode::CREATED).await;
    let token = made["token"].as_str().unwrap();
    assert!(token.starts_with("zst_"));
    let mut reader = Client::open(site.bare(Method::GET, &format!("/v1/events?token={token}"))).await;
    happen(&site, two, 1).await;
    qr_happens(&site, one, Duration::from_mins(1)).await;
    happen(&site, one, 2).await;
    assert_eq!(number(&reader.event().await), 2);

    let elsewhere = site.bare(Method::GET, "/v1/instances").bearer_auth(token);
    refused(elsewhere, StatusCode::UNAUTHORIZED, "auth_invalid").await;
    let in_header = site.bare(Method::GET, "/v1/events").bearer_auth(token);
    refused(in_header, StatusCode::UNAUTHORIZED, "auth_invalid").await;
    let other = site.bare(Method::GET, &format!("/v1/events?token={token}&instance_id={two}"));
    refused(other, StatusCode::FORBIDDEN, "instance_access_denied").await;
    let forged = format!(
        "/v1/events?token={}A.{}",
        token.split('.').next().unwrap(),
        "x".repeat(43)
    );
    refused(
        site.bare(Method::GET, &forged),
        StatusCode::UNAUTHORIZED,
        "auth_invalid",
    )
    .await;
}

/// The clock is the process's own, so these tests stand in one.
#[cfg(feature = "sandbox")]
#[tokio::test]
async fn a_comment_comes_every_25_seconds_and_expiry_ends_a_stream() {
    let site = Running::start().await;
    let instance = site.instance().await;
    let mut reader = Client::open(site.request(Method::GET, "/v1/events")).await;
    let expiring = site
        .another_key(crate::app::keys::Draft {
            expires_at: Some(clock::now().plus(Duration::from_mins(10))),
            ..draft("expiring")
        })
        .await;
    let path = format!("/v1/events?token={}&events=call.ended", expiring.secret);
    let mut doomed = Client::open(site.bare(Method::GET, &path)).await;
    for count in 0..3 {
        // Traffic does not put the comment off.
        happen(&site, instance, count).await;
        assert_eq!(number(&reader.event().await), count);
        clock::advance(Duration::from_secs(25));
        assert_eq!(reader.next().await, Some(Piece::Comment("keepalive".into())));
    }
    clock::advance(Duration::from_mins(10));
    loop {
        match doomed.next().await {
            Some(Piece::Comment(comment)) if comment == "keepalive" => {}
            end => {
                assert_eq!(
                    end,
                    Some(Piece::Comment("the key, token or sign-in has expired".into()))
                );
                break;
            }
        }
    }
    assert_eq!(doomed.next().await, None);
    refused(site.bare(Method::GET, &path), StatusCode::UNAUTHORIZED, "auth_expired").await;
}
