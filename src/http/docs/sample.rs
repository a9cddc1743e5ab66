//! A body that a call would take, for its `curl` line.

use serde_json::{Map, Value, json};

use super::schema::{choices, id_prefix, plain};

/// A body with every required field, or with the first one where none is; `None` where no field is needed.
pub fn body(document: &Value, operation: &Value) -> Option<Value> {
    let schema = operation.pointer("/requestBody/content/application~1json/schema")?;
    // The schema cannot say that one of two forms is needed.
    if operation["operationId"] == "messages.send" {
        return Some(json!({ "to": "5511999999999", "body": { "type": "text", "text": "Hello" } }));
    }
    Some(object(document, plain(document, schema))).filter(|body| body.as_object().is_some_and(|body| !body.is_empty()))
}

fn object(document: &Value, schema: &Value) -> Value {
    let fields = schema["properties"].as_object();
    let required: Vec<&str> = schema["required"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    let wanted = |name: &str| required.contains(&name);
    let mut body = Map::new();
    for (name, field) in fields.into_iter().flatten().filter(|(name, _)| wanted(name)) {
        body.insert(name.clone(), value(document, name, field));
    }
    Value::Object(body)
}

fn value(document: &Value, name: &str, schema: &Value) -> Value {
    let schema = plain(document, schema);
    if let Some(example) = schema["examples"].as_array().and_then(|examples| examples.first()) {
        return example.clone();
    }
    if let Some((first, _)) = choices(schema).first() {
        return (*first).into();
    }
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null"),
        kind => kind.as_str(),
    };
    match kind {
        Some("array") => json!([item(document, name, &schema["items"])]),
        Some("object") => object(document, schema),
        Some("integer" | "number") => schema["minimum"].as_u64().unwrap_or(0).max(1).into(),
        Some("boolean") => true.into(),
        _ if schema["format"] == "date-time" => "2026-01-31T12:00:00Z".into(),
        _ => text(name, schema).into(),
    }
}

fn item(document: &Value, name: &str, schema: &Value) -> Value {
    match name {
        "events" => "message.received".into(),
        name => value(document, name, schema),
    }
}

/// What a person would write there.
fn text(name: &str, schema: &Value) -> String {
    if let Some(prefix) = id_prefix(schema) {
        return format!("{prefix}01K00000000000000000000000");
    }
    match name {
        "url" => "https://example.com/hook",
        "phone_number" | "to" | "from" | "phone" => "5511999999999",
        "name" => "Support",
        "password" | "new_password" => "a long sentence you remember",
        "current_password" => "the one before",
        "token" => "the one from the link",
        _ => "Hello",
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::super::{document, groups, operation};
    use super::*;

    #[test]
    fn every_body_that_is_shown_fits_its_schema() {
        let document = document();
        let mut shown = 0;
        for route in groups().into_iter().flat_map(|(_, routes)| routes) {
            let operation = operation(&document, route);
            let Some(body) = body(&document, operation) else {
                continue;
            };
            let schema = operation
                .pointer("/requestBody/content/application~1json/schema")
                .unwrap();
            let whole = json!({ "components": document["components"], "allOf": [schema] });
            let problems: Vec<String> = jsonschema::draft202012::new(&whole)
                .unwrap()
                .iter_errors(&body)
                .map(|problem| problem.to_string())
                .collect();
            assert!(problems.is_empty(), "{}: {body} {problems:?}", route.id);
            shown += 1;
        }
        assert!(shown > 5);
    }
}
