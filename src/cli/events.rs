//! `events`: the stream, one JSON object a line, going on by itself when the server restarts.

use std::collections::VecDeque;
use std::io::Write;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde_json::Value;

use super::arguments::Events;
use super::client::{Client, encoded};
use super::context::Context;
use super::failure::Failure;
use crate::domain::event::EventName;
use crate::sys::clock;

/// The server says something every 25 seconds; after this silence the connection is taken for dead.
const SILENCE: Duration = Duration::from_mins(1);

/// How long to wait before asking again, doubled each time up to the last.
const FIRST_WAIT: Duration = Duration::from_millis(250);
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// The longest line that is read; a QR picture is the largest event.
const LONGEST_LINE: usize = 4 << 20;

pub(super) async fn run(context: &Context, wanted: Events) -> Result<(), Failure> {
    let client = context.server().await?;
    let mut filters = Vec::new();
    if let Some(instance) = &wanted.instance {
        filters.push(format!("instance_id={}", encoded(&client.instance(instance).await?)));
    }
    if !wanted.names.is_empty() {
        let names: Vec<&str> = wanted.names.iter().copied().map(EventName::as_str).collect();
        filters.push(format!("events={}", names.join(",")));
    }
    let path = format!("/v1/events?{}", filters.join("&"));
    let mut tail = Tail::new(client, path.trim_end_matches('?').to_owned(), wanted.since);
    tail.connect().await?;
    loop {
        let line = tail.next_line().await?;
        let mut out = std::io::stdout().lock();
        out.write_all(line.as_bytes())?;
        out.write_all(b"\n")?;
        out.flush()?;
    }
}

/// A stream that comes back by itself, behind the last event it has seen.
pub(super) struct Tail {
    client: Client,
    path: String,
    last_id: Option<String>,
    body: Option<Incoming>,
    frames: Frames,
}

impl Tail {
    pub(super) fn new(client: Client, path: String, since: Option<String>) -> Self {
        Self {
            client,
            path,
            last_id: since,
            body: None,
            frames: Frames::default(),
        }
    }

    /// Opens the stream for the first time; a refusal is final.
    pub(super) async fn connect(&mut self) -> Result<(), Failure> {
        self.body = Some(self.client.stream(&self.path, self.last_id.as_deref()).await?);
        Ok(())
    }

    /// The next event, as an object.
    pub(super) async fn next(&mut self) -> Result<Value, Failure> {
        let line = self.next_line().await?;
        serde_json::from_str(&line).map_err(|_| Failure::failed("the server sent an event that is no JSON"))
    }

    /// The next event, as the server wrote it.
    pub(super) async fn next_line(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(frame) = self.frames.take()? {
                if frame.id.is_some() {
                    self.last_id = frame.id;
                }
                return Ok(frame.data);
            }
            match self.read().await {
                Some(bytes) => self.frames.push(&bytes),
                None => self.come_back().await?,
            }
        }
    }

    /// More of the stream; `None` when it ended, broke or fell silent.
    async fn read(&mut self) -> Option<bytes::Bytes> {
        let body = self.body.as_mut()?;
        loop {
            let frame = clock::timeout(SILENCE, body.frame()).await.ok()??.ok()?;
            if let Ok(bytes) = frame.into_data() {
                return Some(bytes);
            }
        }
    }

    async fn come_back(&mut self) -> Result<(), Failure> {
        self.body = None;
        self.frames = Frames::default();
        let mut wait = FIRST_WAIT;
        let mut told = false;
        loop {
            clock::sleep(wait).await;
            match self.client.stream(&self.path, self.last_id.as_deref()).await {
                Ok(body) => {
                    self.body = Some(body);
                    return Ok(());
                }
                // A server that is starting, stopping or busy will answer later; anything else is final.
                Err(Failure::Refused(refusal)) if !matches!(refusal.status, Some(429 | 500..)) => {
                    return Err(Failure::Refused(refusal));
                }
                Err(_) if !told => {
                    eprintln!("{}: the server is gone; waiting for it to come back", super::PROGRAM);
                    told = true;
                }
                Err(_) => {}
            }
            wait = LONGEST_WAIT.min(wait * 2);
        }
    }
}

/// One event of the stream.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Frame {
    id: Option<String>,
    data: String,
}

/// Cuts the bytes of an event stream into frames, wherever the network cut them.
#[derive(Default)]
struct Frames {
    rest: Vec<u8>,
    id: Option<String>,
    data: Option<String>,
    complete: VecDeque<Frame>,
}

impl Frames {
    fn push(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let mut start = 0;
        while let Some(length) = self.rest[start..].iter().position(|byte| *byte == b'\n') {
            let line = String::from_utf8_lossy(&self.rest[start..start + length])
                .trim_end_matches('\r')
                .to_owned();
            self.line(&line);
            start += length + 1;
        }
        self.rest.drain(..start);
    }

    fn line(&mut self, line: &str) {
        if line.is_empty() {
            let id = self.id.take();
            if let Some(data) = self.data.take() {
                self.complete.push_back(Frame { id, data });
            }
            return;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // A comment, or a field that says nothing to us.
            _ => {}
        }
    }

    fn take(&mut self) -> Result<Option<Frame>, Failure> {
        if self.rest.len() > LONGEST_LINE {
            return Err(Failure::failed("the server sent a line without an end"));
        }
        Ok(self.complete.pop_front())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_found_wherever_the_network_cuts() {
        let stream =
            ": hello\n\nid: evt_1\ndata: {\"a\":1}\n\n: keepalive\n\ndata: {\"b\":\"é\"}\r\n\r\nid: evt_2\ndata: par";
        for size in 1..stream.len() {
            let mut frames = Frames::default();
            for piece in stream.as_bytes().chunks(size) {
                frames.push(piece);
            }
            let mut found = Vec::new();
            while let Some(frame) = frames.take().unwrap() {
                found.push((frame.id, frame.data));
            }
            assert_eq!(
                found,
                [
                    (Some("evt_1".into()), "{\"a\":1}".into()),
                    (None, "{\"b\":\"é\"}".to_owned())
                ],
                "cut into pieces of {size}"
            );
        }
    }

    #[test]
    fn a_line_without_an_end_does_not_fill_the_memory() {
        let mut frames = Frames::default();
        frames.push(&vec![b'x'; LONGEST_LINE + 1]);
        assert!(frames.take().is_err());
    }
}
