//! A reader of `GET /v1/events`, with its own parser, as strict as the specification of server-sent events.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::client::Client;
use super::wait::within;

/// One frame as a browser would dispatch it.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The `id:` line.
    pub id: Option<String>,
    /// The `data:` line.
    pub data: Value,
}

impl Frame {
    /// The event's name.
    pub fn name(&self) -> &str {
        self.data["event"].as_str().expect("every event has a name")
    }
}

#[derive(Default)]
struct Seen {
    frames: Vec<Frame>,
    comments: usize,
    /// How the stream ended: cleanly or with an error.
    ended: Option<Result<(), String>>,
}

/// An open stream; what comes is kept until somebody asks for it.
pub struct Stream {
    seen: Arc<Mutex<Seen>>,
    changed: watch::Receiver<()>,
    task: JoinHandle<()>,
    /// Frames before this one were already asked for.
    next: usize,
}

impl Stream {
    /// Opens the stream with the client's key in the header.
    pub async fn open(client: &Client, query: &str) -> Self {
        Self::resume(client, query, None).await
    }

    /// Opens the stream as the dashboard's page does, by its cookie.
    pub async fn by_cookie(client: &Client, cookie: &str) -> Self {
        let request = client
            .http()
            .get(format!("{}/v1/events", client.base()))
            .header("Accept", "text/event-stream")
            .header("Cookie", cookie)
            .header("Sec-Fetch-Site", "same-origin");
        Self::of(request).await
    }

    /// Opens the stream behind an event that was already seen.
    pub async fn resume(client: &Client, query: &str, last_event_id: Option<&str>) -> Self {
        let request = Self::request(client, query, last_event_id);
        Self::of(request).await
    }

    /// The same through a reverse proxy, which keeps what the gateway tells it to itself.
    pub async fn through_proxy(client: &Client, query: &str, last_event_id: Option<&str>) -> Self {
        let request = Self::request(client, query, last_event_id);
        let response = within("the head of the stream", request.send()).await.unwrap();
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        Self::reading(response)
    }

    fn request(client: &Client, query: &str, last_event_id: Option<&str>) -> reqwest::RequestBuilder {
        let mut request = client
            .http()
            .get(format!("{}/v1/events{query}", client.base()))
            .header("Accept", "text/event-stream");
        if !query.contains("token=") {
            request = request.bearer_auth(client.key());
        }
        if let Some(id) = last_event_id {
            request = request.header("Last-Event-ID", id);
        }
        request
    }

    async fn of(request: reqwest::RequestBuilder) -> Self {
        let response = within("the head of the stream", request.send()).await.unwrap();
        assert_eq!(response.status(), 200, "{}", response.text().await.unwrap());
        for (name, value) in [
            ("content-type", "text/event-stream"),
            ("cache-control", "no-store"),
            ("x-accel-buffering", "no"),
        ] {
            assert_eq!(response.headers()[name], value, "{name}");
        }
        Self::reading(response)
    }

    fn reading(response: reqwest::Response) -> Self {
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let (tell, changed) = watch::channel(());
        let sink = seen.clone();
        let task = tokio::spawn(async move {
            let mut parser = Parser::default();
            let mut body = response.bytes_stream();
            let mut end = Ok(());
            while let Some(chunk) = body.next().await {
                match chunk {
                    Ok(bytes) => parser.push(&bytes, &mut sink.lock().unwrap()),
                    Err(error) => {
                        end = Err(format!("{error:?}"));
                        break;
                    }
                }
                tell.send_replace(());
            }
            sink.lock().unwrap().ended = Some(end);
            tell.send_replace(());
        });
        Self {
            seen,
            changed,
            task,
            next: 0,
        }
    }

    /// Every frame so far.
    pub fn frames(&self) -> Vec<Frame> {
        self.seen.lock().unwrap().frames.clone()
    }

    /// How many comments came.
    pub fn comments(&self) -> usize {
        self.seen.lock().unwrap().comments
    }

    /// Waits until `condition` holds for everything seen so far.
    async fn until<T>(&mut self, what: &str, mut condition: impl FnMut(&Seen) -> Option<T>) -> T {
        let (seen, changed) = (self.seen.clone(), &mut self.changed);
        let search = async {
            loop {
                changed.borrow_and_update();
                {
                    let seen = seen.lock().unwrap();
                    if let Some(found) = condition(&seen) {
                        return found;
                    }
                    assert!(
                        seen.ended.is_none(),
                        "the stream ended ({:?}) before {what}",
                        seen.ended
                    );
                }
                // The reading task may be gone; then the stream has ended and the next round says so.
                let _ = changed.changed().await;
            }
        };
        let Ok(found) = tokio::time::timeout(super::wait::PATIENCE, search).await else {
            let events: Vec<String> = self.frames().iter().map(|frame| frame.data.to_string()).collect();
            panic!("waited in vain for {what}; the stream had: {events:#?}");
        };
        found
    }

    /// The next event, not yet asked for, that `wanted` accepts; those before it are passed over.
    pub async fn next_where(&mut self, what: &str, wanted: impl Fn(&Frame) -> bool) -> Value {
        let from = self.next;
        let index = self
            .until(what, |seen| {
                seen.frames
                    .iter()
                    .skip(from)
                    .position(&wanted)
                    .map(|index| from + index)
            })
            .await;
        self.next = index + 1;
        self.seen.lock().unwrap().frames[index].data.clone()
    }

    /// The next event of a name, not yet asked for; those before it are passed over.
    pub async fn next(&mut self, name: &str) -> Value {
        self.next_where(name, |frame| frame.name() == name).await
    }

    /// Waits until at least `count` frames that `wanted` accepts have come since the stream was opened.
    pub async fn count(&mut self, what: &str, count: usize, wanted: impl Fn(&Frame) -> bool) -> Vec<Value> {
        self.until(what, |seen| {
            let hits: Vec<Value> = seen
                .frames
                .iter()
                .filter(|frame| wanted(frame))
                .map(|frame| frame.data.clone())
                .collect();
            (hits.len() >= count).then_some(hits)
        })
        .await
    }

    /// Waits for more comments than `before`.
    pub async fn comment_after(&mut self, before: usize) {
        self.until("a comment", |seen| (seen.comments > before).then_some(()))
            .await;
    }

    /// Waits for the end; panics if it was not a clean one.
    pub async fn ended(mut self) -> Vec<Frame> {
        let end = self.until("the end", |seen| seen.ended.clone()).await;
        assert_eq!(end, Ok(()), "the stream ends cleanly");
        self.frames()
    }

    /// Whether it has ended.
    pub fn is_over(&self) -> bool {
        self.seen.lock().unwrap().ended.is_some()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Takes a stream of bytes apart; panics on anything the contract does not allow.
#[derive(Default)]
struct Parser {
    rest: Vec<u8>,
    id: Option<String>,
    data: Option<String>,
}

impl Parser {
    fn push(&mut self, bytes: &[u8], seen: &mut Seen) {
        self.rest.extend_from_slice(bytes);
        while let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.rest.drain(..=end).collect();
            self.line(std::str::from_utf8(&line[..end]).expect("the stream is UTF-8"), seen);
        }
    }

    fn line(&mut self, line: &str, seen: &mut Seen) {
        if line.is_empty() {
            if let Some(data) = self.data.take() {
                let frame = Frame {
                    id: self.id.take(),
                    data: serde_json::from_str(&data).expect("every data line is JSON"),
                };
                assert_eq!(
                    frame.id.as_deref(),
                    frame.id.as_ref().and(frame.data["event_id"].as_str()),
                    "the frame's id is the event's"
                );
                seen.frames.push(frame);
            }
        } else if line.starts_with(':') {
            seen.comments += 1;
        } else if let Some(id) = line.strip_prefix("id: ") {
            self.id = Some(id.to_owned());
        } else if let Some(data) = line.strip_prefix("data: ") {
            assert!(self.data.is_none(), "each event is one data line");
            self.data = Some(data.to_owned());
        } else {
            // `retry: …` is the only other line that a browser's sample survives.
            assert!(
                line.starts_with("retry: "),
                "a line that the contract does not know: {line:?}"
            );
        }
    }
}
