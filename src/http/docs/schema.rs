//! JSON Schema as rows that a person can read.

use serde_json::Value;

/// How deep objects inside objects are told.
const DEEPEST: usize = 3;

/// Values of a choice that are listed; more are told where they are explained.
const LISTED: usize = 10;

/// One field.
pub struct Row {
    /// Its name with those of the objects around it: `body.text`, `contacts[].name`.
    pub name: String,
    /// What can stand there.
    pub kind: String,
    /// Whether it must be there.
    pub required: bool,
    /// What it means.
    pub what: String,
}

/// The fields of an object; of a list, those of its items.
pub fn rows(document: &Value, schema: &Value) -> Vec<Row> {
    let mut found = Vec::new();
    walk(document, schema, "", 0, &mut found);
    found
}

fn walk(document: &Value, schema: &Value, prefix: &str, depth: usize, found: &mut Vec<Row>) {
    let schema = plain(document, schema);
    if let Some(items) = schema.get("items") {
        return walk(document, items, &format!("{prefix}[]"), depth, found);
    }
    let required: Vec<&str> = schema["required"]
        .as_array()
        .map(|names| names.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default();
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let separator = if prefix.is_empty() { "" } else { "." };
        let path = format!("{prefix}{separator}{name}");
        let inner = plain(document, field);
        let what = field["description"].as_str().or_else(|| inner["description"].as_str());
        found.push(Row {
            kind: kind(document, field),
            required: required.contains(&name.as_str()),
            what: what.unwrap_or_default().to_owned(),
            name: path.clone(),
        });
        if depth + 1 < DEEPEST {
            walk(document, field, &path, depth + 1, found);
        }
    }
}

/// A schema behind its references, and without the `null` that only says "optional".
pub fn plain<'a>(document: &'a Value, schema: &'a Value) -> &'a Value {
    let mut schema = schema;
    loop {
        if let Some(reference) = schema["$ref"].as_str() {
            schema = document
                .pointer(reference.trim_start_matches('#'))
                .unwrap_or(&Value::Null);
        } else if let Some([one, other]) = schema["anyOf"].as_array().map(Vec::as_slice) {
            match (one["type"] == "null", other["type"] == "null") {
                (false, true) => schema = one,
                (true, false) => schema = other,
                _ => return schema,
            }
        } else {
            return schema;
        }
    }
}

/// The values of a choice with what each means.
pub fn choices(schema: &Value) -> Vec<(&str, &str)> {
    schema["oneOf"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|one| Some((one["const"].as_str()?, one["description"].as_str().unwrap_or_default())))
        .collect()
}

/// What can stand in a field, in a few words.
pub fn kind(document: &Value, schema: &Value) -> String {
    let schema = plain(document, schema);
    let choices = choices(schema);
    if !choices.is_empty() {
        let values: Vec<String> = choices
            .iter()
            .take(LISTED)
            .map(|(value, _)| format!("`{value}`"))
            .collect();
        let more = if choices.len() > LISTED { ", …" } else { "" };
        return format!("{}{more}", values.join(", "));
    }
    let name = match &schema["type"] {
        Value::String(name) => name.as_str(),
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .find(|name| *name != "null")
            .unwrap_or("any"),
        _ if schema["oneOf"].is_array() || schema["anyOf"].is_array() => "object",
        _ => "any",
    };
    match name {
        "array" => {
            let item = kind(document, &schema["items"]);
            if item.starts_with('`') {
                format!("list of {item}")
            } else {
                format!("list of {item}s")
            }
        }
        "string" => match schema["format"].as_str() {
            Some("date-time") => "time".to_owned(),
            _ => match id_prefix(schema) {
                Some(prefix) => format!("id, `{prefix}…`"),
                None => format!("text{}", span(schema, "minLength", "maxLength", " characters")),
            },
        },
        "integer" => format!("whole number{}", span(schema, "minimum", "maximum", "")),
        "number" => "number".to_owned(),
        "boolean" => "true or false".to_owned(),
        other => other.to_owned(),
    }
}

/// `inst_`, of an id.
pub fn id_prefix(schema: &Value) -> Option<&str> {
    schema["pattern"]
        .as_str()?
        .strip_prefix('^')?
        .strip_suffix("[0-9A-Z]{26}$")
}

/// `, 1 to 100`, as far as it is limited; numbers of a machine's width say nothing.
fn span(schema: &Value, least: &str, most: &str, unit: &str) -> String {
    let least = schema[least].as_u64().filter(|least| *least > 0);
    match (least, schema[most].as_u64().filter(|most| *most < 4_000_000_000)) {
        (Some(least), Some(most)) => format!(", {least} to {most}{unit}"),
        (None, Some(most)) => format!(", at most {most}{unit}"),
        (Some(least), None) if least > 1 => format!(", at least {least}{unit}"),
        _ => String::new(),
    }
}
