//! The served OpenAPI document, held against every reply.

use std::collections::HashMap;
use std::sync::Mutex;

use serde_json::{Value, json};

/// The contract as the gateway under test serves it.
pub struct Contract {
    document: Value,
    /// Validators by operation and status; compiling one costs more than all its uses.
    compiled: Mutex<HashMap<String, std::sync::Arc<jsonschema::Validator>>>,
}

impl Contract {
    /// Reads the document.
    pub fn new(document: Value) -> Self {
        assert_eq!(document["openapi"], "3.1.0", "the contract is OpenAPI 3.1");
        Self {
            document,
            compiled: Mutex::default(),
        }
    }

    /// Panics unless the contract announces this reply.
    pub fn check(&self, method: &str, path: &str, status: u16, content_type: Option<&str>, body: Option<&Value>) {
        let call = format!("{method} {path} → {status}");
        let Some((template, operation)) = self.operation(method, path) else {
            assert!(
                matches!(status, 404 | 405 | 204),
                "{call}: the contract has no such call, so it must not succeed"
            );
            if let Some(body) = body {
                let schema = json!({"$ref": "#/components/schemas/Error"});
                self.validate(&format!("unknown {status}"), &call, &schema, body);
            }
            return;
        };
        let status_key = status.to_string();
        let responses = &operation["responses"];
        let response = [status_key.as_str(), &format!("{}XX", status / 100), "default"]
            .iter()
            .find_map(|key| responses.get(*key))
            .unwrap_or_else(|| panic!("{call}: the contract does not announce this status"));
        let response = self.resolve(response);
        let Some(content) = response.get("content").and_then(Value::as_object) else {
            assert!(body.is_none(), "{call}: the contract announces no body");
            return;
        };
        let media = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
        let entry = content
            .get(media)
            .unwrap_or_else(|| panic!("{call}: the contract does not announce the type {media:?}"));
        if let (Some(body), Some(schema)) = (body, entry.get("schema")) {
            self.validate(&format!("{method} {template} {status}"), &call, schema, body);
        }
    }

    fn validate(&self, name: &str, call: &str, schema: &Value, body: &Value) {
        let validator = {
            let mut compiled = self.compiled.lock().unwrap();
            compiled
                .entry(name.to_owned())
                .or_insert_with(|| {
                    // References inside the document point at its components, so these travel along.
                    let whole = json!({"components": self.document["components"], "allOf": [schema]});
                    let validator = jsonschema::draft202012::new(&whole)
                        .unwrap_or_else(|error| panic!("{call}: the contract's schema is wrong: {error}"));
                    std::sync::Arc::new(validator)
                })
                .clone()
        };
        let problems: Vec<String> = validator
            .iter_errors(body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(
            problems.is_empty(),
            "{call}: the reply breaks the contract: {problems:#?}\n{body:#}"
        );
    }

    /// The path template and operation for a call.
    fn operation(&self, method: &str, path: &str) -> Option<(&str, &Value)> {
        let path = path.split('?').next().unwrap_or_default();
        let paths = self.document["paths"].as_object()?;
        let (template, item) = paths
            .iter()
            .filter(|(template, _)| fits(template, path))
            // A literal path goes before one with a parameter.
            .min_by_key(|(template, _)| template.matches('{').count())?;
        Some((template, item.get(method.to_lowercase())?))
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value.get("$ref").and_then(Value::as_str) {
            Some(reference) => self
                .document
                .pointer(reference.trim_start_matches('#'))
                .unwrap_or_else(|| panic!("the contract points nowhere: {reference}")),
            None => value,
        }
    }
}

fn fits(template: &str, path: &str) -> bool {
    let (template, path) = (template.split('/'), path.split('/'));
    template.clone().count() == path.clone().count()
        && template
            .zip(path)
            .all(|(expected, got)| (expected.starts_with('{') && !got.is_empty()) || expected == got)
}
