//! Webhook deliveries.

use http::{Method, StatusCode};

use super::{Access, Answer, Code, Parameter, Route, now, schema};
use crate::app::deliveries::{self, Shown, parse_id};
use crate::app::{App, Page, instances, webhooks};
use crate::domain::access::Scope;
use crate::domain::error::Error;
use crate::domain::id::DeliveryId;
use crate::domain::webhook::{DeliveryStatus, Subject};
use crate::http::call::Call;
use crate::http::reply::Reply;
use crate::store::DeliveryFilter;

/// The deliveries.
pub const LIST: Route = Route {
    method: Method::GET,
    path: "/v1/webhook-deliveries",
    id: "deliveries.list",
    summary: "Webhook deliveries, newest first; a page may be shorter than asked for and still have a next one",
    access: Access::Scope(Scope::WebhooksRead),
    query: &[
        Parameter {
            name: "limit",
            what: "How many items at most, 1 to 100; 50 when left out",
        },
        Parameter {
            name: "cursor",
            what: "next_cursor of the page before",
        },
        Parameter {
            name: "status",
            what: "pending, success, failed or retrying",
        },
        Parameter {
            name: "event",
            what: "The name of an event, webhook.test or webhook.canary",
        },
        Parameter {
            name: "instance_id",
            what: "Of one instance",
        },
        Parameter {
            name: "endpoint_id",
            what: "To one endpoint, deleted or not",
        },
    ],
    body: None,
    answer: Answer::Ok(schema::<Page<Shown>>),
    errors: &[Code::EndpointNotFound, Code::InstanceNotFound],
    handler: |app, call| now(list(&app, &call)),
};

/// One delivery.
pub const GET: Route = Route {
    method: Method::GET,
    path: "/v1/webhook-deliveries/{id}",
    id: "deliveries.get",
    summary: "One webhook delivery with its payload and every attempt",
    access: Access::Scope(Scope::WebhooksRead),
    query: &[],
    body: None,
    answer: Answer::Ok(schema::<Shown>),
    errors: &[Code::DeliveryNotFound],
    handler: |app, call| now(get(&app, &call)),
};

/// A delivery again.
pub const REPLAY: Route = Route {
    method: Method::POST,
    path: "/v1/webhook-deliveries/{id}/replay",
    id: "deliveries.replay",
    summary: "Send a delivery again, as a new one that names it in replay_of",
    access: Access::Scope(Scope::WebhooksWrite),
    query: &[],
    body: None,
    answer: Answer::Accepted(schema::<Shown>),
    errors: &[Code::DeliveryNotFound, Code::EndpointNotFound, Code::StorageFull],
    handler: |app, call| Box::pin(replay(app, call)),
};

fn list(app: &App, call: &Call) -> Result<Reply, Error> {
    let (before, limit) = call.page(DeliveryId::parse)?;
    let status = call.query("status").map(|text| {
        DeliveryStatus::parse(text)
            .ok_or_else(|| Error::invalid("query.status", "must be pending, success, failed or retrying"))
    });
    let event = call.query("event").map(|text| {
        Subject::parse(text).ok_or_else(|| {
            Error::invalid(
                "query.event",
                "must be the name of an event that webhooks carry, webhook.test or webhook.canary",
            )
        })
    });
    let filter = DeliveryFilter {
        status: status.transpose()?,
        event: event.transpose()?,
        instance_id: call.query("instance_id").map(instances::parse_id).transpose()?,
        endpoint_id: call.query("endpoint_id").map(webhooks::parse_id).transpose()?,
        endpoints: None,
    };
    Ok(Reply::ok(&deliveries::list(app, &call.caller, filter, before, limit)?))
}

fn get(app: &App, call: &Call) -> Result<Reply, Error> {
    Ok(Reply::ok(&deliveries::get(
        app,
        &call.caller,
        parse_id(call.parameter(0))?,
    )?))
}

async fn replay(app: App, call: Call) -> Result<Reply, Error> {
    call.no_body()?;
    let id = parse_id(call.parameter(0))?;
    let repeated = deliveries::replay(&app, &call.caller, id, call.request).await?;
    Ok(Reply::json(StatusCode::ACCEPTED, &repeated))
}
