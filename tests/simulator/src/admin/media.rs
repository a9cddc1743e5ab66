//! Calls about the media in a phone's messages.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde_json::json;

use super::parameters::Parameters;
use super::phones::{ensure, in_world};
use super::{Answer, Raw, Refusal, Route, Run};
use crate::phone::media::{load, medium_of};
use crate::world::Hub;

/// The calls.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::GET,
        path: "/admin/mock-phone/media",
        parameters: "phone, id",
        summary: "The content of a medium that the phone got or sent, fetched, checked and opened.",
        run: Run::Raw(|hub, parameters| Box::pin(content(hub, parameters))),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/expire-media",
        parameters: "phone, id",
        summary: "The media servers let go of a medium that the phone got or sent: 410 until its phone uploads it again.",
        run: Run::Now(|hub, parameters, _| expire(hub, parameters)),
    },
];

const NO_MEDIUM: &str = "the phone has no readable message with a medium and that id";

async fn content(hub: &Hub, parameters: &Parameters) -> Result<Raw, Refusal> {
    let (number, id) = (parameters.number("phone")?, parameters.required("id")?);
    ensure(hub, number)?;
    let found = hub.look(|world| {
        let message = world.accounts.get(number)?.phone.message(id)?;
        let (reference, shown) = medium_of(&message)?;
        Some((world.phone_finds(&reference), reference, shown))
    });
    let (blob, reference, shown) = found.ok_or_else(|| Refusal::not_found(NO_MEDIUM))?;
    let blob = blob.map_err(|error| Refusal::new(StatusCode::GONE, format!("{error:#}")))?;
    let loaded = tokio::task::spawn_blocking(move || load(blob, &reference)).await;
    let bytes: Bytes = loaded
        .map_err(|error| Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))?
        .map_err(|error| Refusal::new(StatusCode::CONFLICT, format!("{error:#}")))?;
    let content_type = shown.mime_type().unwrap_or("application/octet-stream").to_owned();
    Ok(Raw { content_type, bytes })
}

fn expire(hub: &Hub, parameters: &Parameters) -> Answer {
    let (number, id) = (parameters.number("phone")?, parameters.required("id")?);
    ensure(hub, number)?;
    let known = in_world(hub, |world| {
        let message = world.accounts.get(number).and_then(|account| account.phone.message(id));
        match message.as_ref().and_then(medium_of) {
            Some((reference, _)) => world.media_ends(&reference.direct_path),
            None => Ok(false),
        }
    })?;
    if known {
        Ok(json!({"expired": id}))
    } else {
        Err(Refusal::not_found(NO_MEDIUM))
    }
}
