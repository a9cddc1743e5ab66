//! `GET /v/…enc?…`: a client fetches sealed bytes, all or a range of them.

use std::io::SeekFrom;

use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};

use super::door::{Body, No, whole};
use super::shelf::Blob;
use super::{Found, parameter};
use crate::fault::{Kind, Whom};
use crate::world::Hub;

/// Read from a file at once.
const PIECE: u64 = 64 * 1024;

/// Answers with the bytes, or with why not.
pub(super) async fn serve(hub: &Hub, request: &Request<Incoming>) -> Result<Response<Body>, No> {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    let found = hub.act(|world| {
        // Only whatsapp-rust says who it is when it downloads.
        let owner = parameter(query, "auth").and_then(|auth| world.media.authenticate(auth));
        let found = world.media.find(path, query);
        if let Found::Item(_) = &found {
            if let Some(fault) = world.strike(Kind::Media404, owner.as_ref().map(Whom::from).unwrap_or_default()) {
                return Ok(Err(fault.details.code));
            }
            world.stats.media.downloads += 1;
        }
        Ok(Ok((found, world.media.shelf.clone())))
    });
    let (found, shelf) = match found {
        Ok(Ok(found)) => found,
        Ok(Err(code)) => {
            let status = code.and_then(|code| StatusCode::from_u16(code).ok());
            return Err(No(
                status.unwrap_or(StatusCode::NOT_FOUND),
                "refused by the fault media-404",
            ));
        }
        Err(_) => {
            return Err(No(
                StatusCode::INSUFFICIENT_STORAGE,
                "the state folder cannot be written",
            ));
        }
    };
    let item = match found {
        Found::Item(item) => item,
        Found::Unknown => return Err(No(StatusCode::NOT_FOUND, "there is no such medium")),
        Found::Gone => return Err(GONE),
        Found::Forged => return Err(No(StatusCode::FORBIDDEN, "URL signature mismatch")),
        Found::Expired => return Err(No(StatusCode::FORBIDDEN, "URL signature expired")),
    };
    let wanted = request
        .headers()
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok());
    let mut response = Response::builder()
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CONTENT_TYPE, "application/octet-stream")
        .header(header::CACHE_CONTROL, "private, no-store");
    let (first, length) = match range(wanted, item.size) {
        Range::All => (0, item.size),
        Range::Part(first, last) => {
            response = response
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, format!("bytes {first}-{last}/{}", item.size));
            (first, last - first + 1)
        }
        Range::Outside => {
            response = response
                .status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(header::CONTENT_RANGE, format!("bytes */{}", item.size));
            return Ok(response.body(whole(Bytes::new())).unwrap_or_default());
        }
    };
    response = response.header(header::CONTENT_LENGTH, length);
    let blob = shelf.blob(&item.hash).ok_or(GONE)?;
    let body = if request.method() == Method::HEAD {
        whole(Bytes::new())
    } else {
        content(blob, first, length).await.map_err(|error| {
            tracing::warn!(%error, "a medium cannot be read");
            GONE
        })?
    };
    Ok(response.body(body).unwrap_or_default())
}

const GONE: No = No(StatusCode::GONE, "the medium is gone; its phone can upload it again");

async fn content(blob: Blob, first: u64, length: u64) -> std::io::Result<Body> {
    let path = match blob {
        Blob::Memory(bytes) => {
            let start = usize::try_from(first).unwrap_or(usize::MAX).min(bytes.len());
            let end = usize::try_from(first + length).unwrap_or(usize::MAX).min(bytes.len());
            return Ok(whole(bytes.slice(start..end)));
        }
        Blob::File(path) => path,
    };
    let mut file = tokio::fs::File::open(path).await?;
    file.seek(SeekFrom::Start(first)).await?;
    let pieces = stream::try_unfold((file, length), |(mut file, left)| async move {
        let mut piece = BytesMut::with_capacity(usize::try_from(left.min(PIECE)).unwrap_or(0));
        if left == 0 || (&mut file).take(left.min(PIECE)).read_buf(&mut piece).await? == 0 {
            return Ok(None);
        }
        let left = left - piece.len() as u64;
        Ok(Some((Frame::data(piece.freeze()), (file, left))))
    });
    Ok(StreamBody::new(pieces).boxed_unsync())
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    All,
    /// First and last byte.
    Part(u64, u64),
    Outside,
}

/// One range is served; several, or something else than bytes, give everything, as the standard allows.
fn range(wanted: Option<&str>, size: u64) -> Range {
    let Some(set) = wanted.and_then(|wanted| wanted.strip_prefix("bytes=")) else {
        return Range::All;
    };
    let Some((first, last)) = set.trim().split_once('-').filter(|_| !set.contains(',')) else {
        return Range::All;
    };
    let number = |text: &str| text.parse::<u64>().ok();
    let (first, last) = match (number(first), number(last)) {
        (None, Some(tail)) if first.is_empty() => (
            size.saturating_sub(tail),
            size.saturating_sub(1).max(u64::from(tail == 0) * size),
        ),
        (Some(first), None) if last.is_empty() => (first, size.saturating_sub(1)),
        (Some(first), Some(last)) if first <= last => (first, last.min(size.saturating_sub(1))),
        _ => return Range::All,
    };
    if first >= size {
        Range::Outside
    } else {
        Range::Part(first, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        for (wanted, size, expected) in [
            (None, 10, Range::All),
            (Some("bytes=0-0"), 10, Range::Part(0, 0)),
            (Some("bytes=2-5"), 10, Range::Part(2, 5)),
            (Some("bytes=2-"), 10, Range::Part(2, 9)),
            (Some("bytes=2-99"), 10, Range::Part(2, 9)),
            (Some("bytes=-3"), 10, Range::Part(7, 9)),
            (Some("bytes=-30"), 10, Range::Part(0, 9)),
            (Some("bytes=-0"), 10, Range::Outside),
            (Some("bytes=10-"), 10, Range::Outside),
            (Some("bytes=0-"), 0, Range::Outside),
            (Some("bytes=5-2"), 10, Range::All),
            (Some("bytes=0-1,4-5"), 10, Range::All),
            (Some("bytes=a-b"), 10, Range::All),
            (Some("rows=1-2"), 10, Range::All),
        ] {
            assert_eq!(range(wanted, size), expected, "{wanted:?} of {size}");
        }
    }
}
