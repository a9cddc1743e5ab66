//! Calls about what an account shows of itself.

use bytes::Bytes;
use http::Method;
use serde_json::json;

use super::parameters::Parameters;
use super::phones::{ensure, in_world};
use super::{Answer, Refusal, Route, Run};
use crate::pictures::{LONGEST, Pictures};
use crate::profile::Business;
use crate::world::Hub;

/// The longest about text.
const LONGEST_ABOUT: usize = 1_000;

/// The calls.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/picture",
        parameters: "phone; body: a JPEG, or nothing to remove the picture",
        summary: "The phone's owner changes the profile picture; who knows the account is told.",
        run: Run::Now(picture),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/about",
        parameters: "phone, text",
        summary: "The phone's owner changes the line under the name.",
        run: Run::Now(|hub, parameters, _| about(hub, parameters)),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/business",
        parameters: "phone, [on: true | false]; JSON body: [name], [description], [address], [email], [websites], [category]",
        summary: "Makes the account a business with that card, or a person again.",
        run: Run::Now(business),
    },
    Route {
        method: Method::POST,
        path: "/admin/mock-phone/dirty",
        parameters: "phone, type: account_sync | groups | syncd_app_state | newsletter_metadata",
        summary: "Tells the account's connected companions that something of theirs is out of date.",
        run: Run::Now(|hub, parameters, _| dirty(hub, parameters)),
    },
];

fn picture(hub: &Hub, parameters: &Parameters, body: &Bytes) -> Answer {
    let number = parameters.number("phone")?;
    if !body.is_empty() && !Pictures::accepts(body) {
        return Err(Refusal::bad(format!(
            "the body must be a JPEG of at most {LONGEST} bytes, or empty to remove the picture"
        )));
    }
    ensure(hub, number)?;
    let jpeg = (!body.is_empty()).then(|| body.to_vec());
    let id = in_world(hub, |world| world.changes_picture(number, jpeg, None))?;
    Ok(json!({"id": id.map(|id| id.to_string())}))
}

fn about(hub: &Hub, parameters: &Parameters) -> Answer {
    let (number, text) = (parameters.number("phone")?, parameters.text("text").unwrap_or_default());
    if text.len() > LONGEST_ABOUT {
        return Err(Refusal::bad(format!("`text` has at most {LONGEST_ABOUT} bytes")));
    }
    ensure(hub, number)?;
    in_world(hub, |world| world.changes_about(number, text, None))?;
    Ok(json!({"about": text}))
}

fn business(hub: &Hub, parameters: &Parameters, body: &Bytes) -> Answer {
    let (number, on) = (parameters.number("phone")?, parameters.flag("on", true)?);
    let card: Business = if body.is_empty() {
        Business::default()
    } else {
        serde_json::from_slice(body)
            .map_err(|error| Refusal::bad(format!("the body is not a business card: {error}")))?
    };
    ensure(hub, number)?;
    in_world(hub, |world| {
        world.change_profile(number, |profile| profile.business = on.then_some(card))
    })?;
    Ok(json!({"business": on}))
}

fn dirty(hub: &Hub, parameters: &Parameters) -> Answer {
    let (number, kind) = (parameters.number("phone")?, parameters.required("type")?);
    if !["account_sync", "groups", "syncd_app_state", "newsletter_metadata"].contains(&kind) {
        return Err(Refusal::bad(
            "`type` must be account_sync, groups, syncd_app_state or newsletter_metadata",
        ));
    }
    ensure(hub, number)?;
    let told = in_world(hub, |world| world.says_dirty(number, kind))?;
    Ok(json!({"told": told}))
}
