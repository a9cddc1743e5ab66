//! `POST /mms/<kind>/<token>?auth=…&token=…`: a client uploads what it has sealed.
//!
//! The token is the hash of the sealed bytes in URL-safe base64. whatsapp-rust (`src/upload.rs`) asks with `resume=1`
//! before it sends more than 5 MiB, and goes on with `file_offset=N` where a cut upload ended.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::{Request, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use serde_json::{Value, json};

use super::door::No;
use super::shelf::{Hash, Part, Shelf};
use super::{LARGEST, Place, parameter};
use crate::world::Hub;

/// A client that sends nothing for this long is cut; what came is kept.
const PATIENCE: Duration = Duration::from_secs(30);

/// Kinds that the three clients upload under (whatsapp-rust `wacore/src/download.rs`, Baileys `Defaults`, zapo-js
/// `media/constants`).
const KINDS: [&str; 16] = [
    "/mms/audio",
    "/mms/document",
    "/mms/gif",
    "/mms/image",
    "/mms/md-app-state",
    "/mms/md-msg-hist",
    "/mms/ptt",
    "/mms/sticker",
    "/mms/sticker-pack",
    "/mms/thumbnail-document",
    "/mms/thumbnail-image",
    "/mms/thumbnail-link",
    "/mms/thumbnail-sticker-pack",
    "/mms/video",
    "/product/image",
    "/pps/biz-cover-photo",
];

/// Takes an upload, or says how far a cut one got.
pub(super) async fn serve(hub: &Hub, request: Request<Incoming>) -> Result<Value, No> {
    let (head, body) = request.into_parts();
    let query = head.uri.query().unwrap_or_default();
    let (path, token) = head.uri.path().rsplit_once('/').unwrap_or_default();
    if !KINDS.contains(&path) {
        return Err(No(StatusCode::NOT_FOUND, "there is no such kind of media"));
    }
    let kind = path.rsplit('/').next().unwrap_or_default();
    let owner = hub.look(|world| {
        let device = world.media.authenticate(parameter(query, "auth")?)?;
        let account = world.accounts.get(&device.number)?;
        account.companions.contains_key(&device.device).then_some(device.number)
    });
    let owner = owner.ok_or(No(StatusCode::UNAUTHORIZED, "the media auth is wrong or too old"))?;
    let hash = read_token(token)
        .filter(|_| parameter(query, "token").is_none_or(|again| again == token))
        .ok_or(No(
            StatusCode::BAD_REQUEST,
            "the token must be the URL-safe base64 of the SHA-256 of the body, in path and query alike",
        ))?;
    let shelf = hub.look(|world| world.media.shelf.clone());
    if parameter(query, "resume") == Some("1") {
        return Ok(match hub.look(|world| world.media.existing(&hash)) {
            Some(place) => described(&place, Some("complete")),
            None => json!({"resume": shelf.resumable(&hash).unwrap_or(0).to_string()}),
        });
    }
    let offset = match parameter(query, "file_offset").map(str::parse) {
        None => 0,
        Some(Ok(offset)) => offset,
        Some(Err(_)) => return Err(No(StatusCode::BAD_REQUEST, "`file_offset` must be a whole number")),
    };
    let announced = head
        .headers
        .get(header::CONTENT_LENGTH)
        .and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length.saturating_add(offset) > LARGEST) {
        return Err(TOO_LARGE);
    }
    let _turn = shelf.turn().await;
    let part = if offset == 0 {
        shelf.begin().map_err(|error| unwritable(&error))?
    } else {
        shelf.resume(&hash, offset).ok_or(No(
            StatusCode::CONFLICT,
            "no upload was cut off there; ask with resume=1",
        ))?
    };
    let part = UnderWay {
        shelf: &shelf,
        hash,
        part: Some(part),
    };
    let part = receive(body, part).await?;
    let size = part.length();
    if !shelf.finish(hash, part).map_err(|error| unwritable(&error))? {
        return Err(No(StatusCode::BAD_REQUEST, "the bytes are not those of the token"));
    }
    let place = hub.act(|world| {
        world.stats.media.uploads += 1;
        world.media_arrives(&owner, kind, hash, size)
    });
    match place {
        Ok(place) => Ok(described(&place, None)),
        Err(error) => Err(unwritable(&error)),
    }
}

const TOO_LARGE: No = No(StatusCode::PAYLOAD_TOO_LARGE, "a sealed medium has at most 128 MiB");

/// What a client has sent so far. A request that ends in the middle, with an error or dropped with its connection,
/// leaves it to be resumed.
struct UnderWay<'a> {
    shelf: &'a Shelf,
    hash: Hash,
    part: Option<Part>,
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if let Some(part) = self.part.take() {
            self.shelf.keep(self.hash, part);
        }
    }
}

/// Writes the body as it comes and gives the part when it is whole.
async fn receive(mut body: Incoming, mut under_way: UnderWay<'_>) -> Result<Part, No> {
    const CUT: No = No(StatusCode::BAD_REQUEST, "the upload was cut off");
    loop {
        let frame = match tokio::time::timeout(PATIENCE, body.frame()).await {
            Ok(Some(Ok(frame))) => frame,
            Ok(None) => return under_way.part.take().ok_or(CUT),
            Ok(Some(Err(_))) | Err(_) => return Err(CUT),
        };
        let (Some(bytes), Some(part)) = (frame.data_ref(), &mut under_way.part) else {
            continue;
        };
        let written = if part.length() + bytes.len() as u64 > LARGEST {
            Err(TOO_LARGE)
        } else {
            part.write(bytes).map_err(|error| unwritable(&error))
        };
        if let Err(refusal) = written {
            under_way.part.take().into_iter().for_each(Part::discard);
            return Err(refusal);
        }
    }
}

fn unwritable(error: &dyn std::fmt::Display) -> No {
    tracing::error!(%error, "a medium could not be stored");
    No(StatusCode::INSUFFICIENT_STORAGE, "the simulator has no room for media")
}

fn read_token(token: &str) -> Option<Hash> {
    BASE64_URL_SAFE_NO_PAD.decode(token).ok()?.try_into().ok()
}

fn described(place: &Place, resume: Option<&str>) -> Value {
    let mut answer = json!({"url": place.url, "direct_path": place.direct_path});
    if let Some(resume) = resume {
        answer["resume"] = resume.into();
    }
    answer
}
