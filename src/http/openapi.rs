//! The OpenAPI 3.1 document, from the table of routes and the schemas of the wire types.

use std::collections::BTreeSet;

use http::{Method, StatusCode};
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::error::{Envelope, status};
use super::route::{Access, Answer, Route, TABLE};
use crate::domain::error::Code;
use crate::domain::event::Wire;

/// What every call with a key can meet.
const WITH_KEY: &[Code] = &[
    Code::AuthMissing,
    Code::AuthMalformed,
    Code::AuthInvalid,
    Code::AuthExpired,
    Code::RateLimited,
];

/// What every call with a JSON body can meet.
const WITH_BODY: &[Code] = &[Code::MalformedJson, Code::PayloadTooLarge, Code::UnsupportedMediaType];

/// The document as JSON; the cookie of a sign-in has a name of its own on each installation.
pub fn document(cookie: &str) -> Vec<u8> {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let error = generator.subschema_for::<Envelope<'_>>();
    let event = generator.subschema_for::<Wire<'_>>();
    let mut paths: Map<String, Value> = Map::new();
    for route in TABLE {
        let path = paths
            .entry(route.path)
            .or_insert_with(|| json!({ "parameters": path_parameters(route.path) }));
        path[route.method.as_str().to_ascii_lowercase()] =
            operation(route, &mut generator, error.as_value(), event.as_value());
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "WhatIsUp",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "A self-hosted WhatsApp gateway",
            "license": { "name": "AGPL-3.0-only", "identifier": "AGPL-3.0-only" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {
                "key": { "type": "http", "scheme": "bearer", "description": "An API key: zpk_live_… or zpk_test_…" },
                "session": {
                    "type": "apiKey", "in": "cookie", "name": cookie,
                    "description": "A sign-in to the dashboard. It counts on requests of the gateway's own origin only, and not beside an Authorization header",
                },
                "token": {
                    "type": "apiKey", "in": "query", "name": "token",
                    "description": "A key or a stream token, for browsers, which cannot set headers on an EventSource",
                },
            },
            "headers": {
                "X-Request-Id": { "description": "Names this request in logs and error bodies", "schema": { "type": "string" } },
            },
        },
    });
    // Values with string keys always encode.
    serde_json::to_vec(&document).unwrap_or_default()
}

fn path_parameters(path: &str) -> Value {
    path.split('/')
        .filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }))
        .collect()
}

fn operation(route: &Route, generator: &mut SchemaGenerator, error: &Value, event: &Value) -> Value {
    let mut operation = json!({
        "operationId": route.id,
        "summary": route.summary,
        "tags": [route.id.split('.').next()],
        "security": security(route.access),
        "responses": responses(route, generator, error, event),
    });
    if let Access::Scope(scope) | Access::Stream(scope) = route.access {
        operation["description"] = format!("Needs the scope `{}`.", scope.as_str()).into();
        operation["x-scope"] = scope.as_str().into();
    }
    let mut parameters: Vec<Value> = route
        .query
        .iter()
        .map(|parameter| {
            json!({
                "name": parameter.name, "in": "query", "description": parameter.what,
                "schema": match parameter.name {
                    "limit" => json!({ "type": "integer", "minimum": 1, "maximum": 100, "default": 50 }),
                    _ => json!({ "type": "string" }),
                },
            })
        })
        .collect();
    for (id, name) in [
        ("messages.send", "Idempotency-Key"),
        ("events.subscribe", "Last-Event-ID"),
    ] {
        if route.id == id {
            parameters.push(json!({ "name": name, "in": "header", "schema": { "type": "string" } }));
        }
    }
    if !parameters.is_empty() {
        operation["parameters"] = parameters.into();
    }
    if let Some(body) = route.body {
        operation["requestBody"] = json!({
            "required": true,
            "content": { "application/json": { "schema": body(generator).to_value() } },
        });
    }
    operation
}

fn security(access: Access) -> Value {
    match access {
        Access::Open | Access::Owner => json!([]),
        Access::Page => json!([{}, { "session": [] }]),
        Access::Login => json!([{ "session": [] }]),
        Access::Free | Access::Scope(_) => json!([{ "key": [] }, { "session": [] }]),
        Access::Stream(_) => json!([{ "key": [] }, { "token": [] }, { "session": [] }]),
    }
}

fn responses(route: &Route, generator: &mut SchemaGenerator, error: &Value, event: &Value) -> Value {
    let request_id = json!({ "X-Request-Id": { "$ref": "#/components/headers/X-Request-Id" } });
    let mut responses = Map::new();
    let mut success = |status: StatusCode, content: Option<Value>| {
        let mut response = json!({ "description": described(status), "headers": request_id });
        if let Some(content) = content {
            response["content"] = content;
        }
        responses.insert(status.as_str().to_owned(), response);
    };
    let as_json = |schema: Value| Some(json!({ "application/json": { "schema": schema } }));
    match route.answer {
        Answer::Ok(schema) => success(StatusCode::OK, as_json(schema(generator).to_value())),
        Answer::Created(schema) => success(StatusCode::CREATED, as_json(schema(generator).to_value())),
        Answer::Accepted(schema) => success(StatusCode::ACCEPTED, as_json(schema(generator).to_value())),
        Answer::Deleted => success(StatusCode::NO_CONTENT, None),
        Answer::Negotiated(schema, others) => {
            let mut content = json!({ "application/json": { "schema": schema(generator).to_value() } });
            for other in others {
                content[*other] = json!({});
            }
            success(StatusCode::OK, Some(content));
        }
        Answer::Other("text/event-stream") => success(
            StatusCode::OK,
            // OpenAPI 3.1 cannot say "a stream of these"; 3.2 calls it itemSchema.
            Some(json!({ "text/event-stream": { "schema": { "type": "string" }, "x-item-schema": event } })),
        ),
        Answer::Other(kind) => success(StatusCode::OK, Some(json!({ kind: {} }))),
    }
    for (status, codes) in failures(route) {
        responses.insert(
            status.as_str().to_owned(),
            json!({
                "description": codes,
                "headers": request_id,
                "content": { "application/json": { "schema": error } },
            }),
        );
    }
    responses.into()
}

/// Which statuses can come, each with its codes.
fn failures(route: &Route) -> Vec<(StatusCode, String)> {
    let mut codes: Vec<Code> = vec![Code::ValidationFailed, Code::Internal];
    match route.access {
        Access::Open | Access::Page => {}
        // Everywhere but on the admin socket.
        Access::Owner => codes.push(Code::NotFound),
        Access::Free => codes.extend(WITH_KEY),
        Access::Login | Access::Scope(_) | Access::Stream(_) => {
            codes.extend(WITH_KEY);
            codes.push(Code::InsufficientScope);
        }
    }
    if !matches!(route.method, Method::GET | Method::DELETE) {
        codes.extend(WITH_BODY);
        codes.push(Code::ShuttingDown);
    }
    codes.extend(route.errors);
    let statuses: BTreeSet<u16> = codes.iter().map(|code| status(*code).as_u16()).collect();
    Code::ALL
        .iter()
        .map(|code| status(*code))
        .filter({
            let mut seen = BTreeSet::new();
            move |status| statuses.contains(&status.as_u16()) && seen.insert(status.as_u16())
        })
        .map(|wanted| {
            let named: BTreeSet<&str> = codes
                .iter()
                .filter(|code| status(**code) == wanted)
                .map(|code| code.as_str())
                .collect();
            (wanted, named.into_iter().collect::<Vec<_>>().join(", "))
        })
        .collect()
}

const fn described(status: StatusCode) -> &'static str {
    match status {
        StatusCode::CREATED => "Made",
        StatusCode::ACCEPTED => "Stored, and on its way",
        StatusCode::NO_CONTENT => "Done",
        _ => "As asked",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_has_every_route_with_an_answer_and_the_error_envelope() {
        let document: Value = serde_json::from_slice(&document("whatisup_1")).unwrap();
        for route in TABLE {
            let operation = &document["paths"][route.path][route.method.as_str().to_ascii_lowercase()];
            assert_eq!(operation["operationId"], route.id);
            let responses = operation["responses"].as_object().unwrap();
            assert!(responses.keys().any(|status| status.starts_with('2')), "{}", route.id);
            let error = &responses["500"]["content"]["application/json"]["schema"]["$ref"];
            assert_eq!(error, "#/components/schemas/Error", "{}", route.id);
            assert!(operation["security"].is_array(), "{}", route.id);
        }
    }

    #[test]
    fn every_reference_inside_the_document_leads_somewhere() {
        fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
            match value {
                Value::Object(map) => {
                    if let Some(Value::String(reference)) = map.get("$ref") {
                        found.push(reference);
                    }
                    map.values().for_each(|value| references(value, found));
                }
                Value::Array(items) => items.iter().for_each(|value| references(value, found)),
                _ => {}
            }
        }
        let document: Value = serde_json::from_slice(&document("whatisup_1")).unwrap();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }
}
