//! Reading a JSON body field by field, collecting every problem instead of stopping at the first.
//!
//! A field that nobody asked for is a problem too: a typo must not pass silently.

use serde_json::{Map, Value};

use crate::domain::Timestamp;
use crate::domain::address::Address;
use crate::domain::error::{Code, Error, FieldProblem};

/// The deepest nesting of arrays and objects that is read.
pub const MAX_DEPTH: usize = 64;

/// An object being read; each call takes a field out of it.
pub struct Fields<'a> {
    path: String,
    map: Map<String, Value>,
    known: Vec<&'static str>,
    problems: &'a mut Vec<FieldProblem>,
}

/// Reads a body: `None` from `read` means that a problem was noted.
pub fn read<T>(bytes: &[u8], read: impl FnOnce(&mut Fields<'_>) -> Option<T>) -> Result<T, Error> {
    let value = parse(bytes)?;
    let mut problems = Vec::new();
    let Value::Object(map) = value else {
        return Err(Error::invalid("body", "must be a JSON object"));
    };
    let mut fields = Fields {
        path: "body".to_owned(),
        map,
        known: Vec::new(),
        problems: &mut problems,
    };
    let read = read(&mut fields);
    fields.refuse_unknown();
    match read {
        Some(read) if problems.is_empty() => Ok(read),
        _ if problems.is_empty() => Err(Error::internal("a body was refused without a reason")),
        _ => Err(Error::validation(&problems)),
    }
}

/// Parses JSON of bounded depth; an empty body is an empty object.
fn parse(bytes: &[u8]) -> Result<Value, Error> {
    if bytes.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(Map::new()));
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|error| {
        Error::new(
            Code::MalformedJson,
            format!(
                "The body is not JSON: {} at line {}, column {}.",
                reason(&error),
                error.line(),
                error.column()
            ),
        )
    })?;
    if depth(&value) > MAX_DEPTH {
        return Err(Error::new(
            Code::MalformedJson,
            format!("The body is nested too deeply; at most {MAX_DEPTH} levels are read."),
        ));
    }
    Ok(value)
}

/// What the parser says, without the position that it appends.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    text.split(" at line ").next().unwrap_or_default().to_owned()
}

/// The parser itself stops at 128 levels, so this recursion is bounded.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(map) => 1 + map.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

/// What a value is, in words of JSON.
const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl Fields<'_> {
    /// Whether the field is there and not `null`.
    pub fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }

    /// Whether the field is there, `null` included: in a change, `null` is not the same as nothing.
    pub fn is_given(&self, name: &str) -> bool {
        self.map.contains_key(name)
    }

    /// Notes a problem with a field.
    pub fn refuse(&mut self, name: &str, problem: impl Into<String>) {
        self.problems
            .push(FieldProblem::new(format!("{}.{name}", self.path), problem));
    }

    /// Any value; `null` counts as absent.
    pub fn value(&mut self, name: &'static str) -> Option<Value> {
        self.known.push(name);
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// Whatever else a field must be, it must be there.
    pub fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&mut Self, &'static str) -> Option<T>,
    ) -> Option<T> {
        if self.has(name) {
            return read(self, name);
        }
        self.value(name);
        self.refuse(name, "is required");
        None
    }

    /// A string of at most `max` characters, if there.
    pub fn text(&mut self, name: &'static str, max: usize) -> Option<String> {
        match self.value(name)? {
            Value::String(text) if text.chars().count() > max => {
                self.refuse(name, format!("must have at most {max} characters"));
                None
            }
            Value::String(text) => Some(text),
            other => {
                self.refuse(name, format!("must be a string, not {}", kind(&other)));
                None
            }
        }
    }

    /// A string with at least one character, if there.
    pub fn word(&mut self, name: &'static str, max: usize) -> Option<String> {
        let text = self.text(name, max)?;
        if text.is_empty() {
            self.refuse(name, "must not be empty");
            return None;
        }
        Some(text)
    }

    /// A boolean, if there.
    pub fn flag(&mut self, name: &'static str) -> Option<bool> {
        match self.value(name)? {
            Value::Bool(flag) => Some(flag),
            other => {
                self.refuse(name, format!("must be true or false, not {}", kind(&other)));
                None
            }
        }
    }

    /// A whole number in a range, if there.
    pub fn whole(&mut self, name: &'static str, range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        let found = self.value(name)?;
        let number = found.as_u64().filter(|number| range.contains(number));
        if number.is_none() {
            self.refuse(
                name,
                format!("must be a whole number from {} to {}", range.start(), range.end()),
            );
        }
        number
    }

    /// A point in time, if there.
    pub fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        let text = self.text(name, 64)?;
        match text.parse() {
            Ok(time) => Some(time),
            Err(problem) => {
                self.refuse(name, problem.to_string());
                None
            }
        }
    }

    /// A phone number or JID, if there.
    pub fn address(&mut self, name: &'static str) -> Option<Address> {
        match self.value(name)? {
            Value::String(text) => match Address::parse(&text) {
                Ok(address) => Some(address),
                Err(problem) => {
                    self.refuse(name, problem.to_string());
                    None
                }
            },
            Value::Number(_) => {
                self.refuse(name, "must be a string: put the number in quotes");
                None
            }
            other => {
                self.refuse(name, format!("must be a string, not {}", kind(&other)));
                None
            }
        }
    }

    /// An international phone number, as digits.
    pub fn phone(&mut self, name: &'static str) -> Option<String> {
        let address = self.address(name)?;
        let number = address.phone_number().map(str::to_owned);
        if number.is_none() {
            self.refuse(name, "must be an international phone number with country code");
        }
        number
    }

    /// An array of at most `max` strings, each read by `read`, whose problem is noted with its place; empty if absent.
    pub fn list<T>(
        &mut self,
        name: &'static str,
        max: usize,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let items = match self.value(name)? {
            Value::Array(items) if items.len() > max => {
                self.refuse(name, format!("must have at most {max} items"));
                return None;
            }
            Value::Array(items) => items,
            other => {
                self.refuse(name, format!("must be an array of strings, not {}", kind(&other)));
                return None;
            }
        };
        let mut list = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let read = match item {
                Value::String(text) => read(text),
                other => Err(format!("must be a string, not {}", kind(other))),
            };
            match read {
                Ok(item) => list.push(item),
                Err(problem) => self.refuse(&format!("{name}[{index}]"), problem),
            }
        }
        Some(list)
    }

    /// An array of at most `max` whole numbers in a range, if there.
    pub fn numbers(
        &mut self,
        name: &'static str,
        max: usize,
        range: std::ops::RangeInclusive<u64>,
    ) -> Option<Vec<u64>> {
        let (low, high) = (*range.start(), *range.end());
        let items = match self.value(name)? {
            Value::Array(items) if items.len() <= max => items,
            _ => {
                self.refuse(name, format!("must be an array of at most {max} whole numbers"));
                return None;
            }
        };
        let mut numbers = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match item.as_u64().filter(|number| range.contains(number)) {
                Some(number) => numbers.push(number),
                None => self.refuse(
                    &format!("{name}[{index}]"),
                    format!("must be a whole number from {low} to {high}"),
                ),
            }
        }
        Some(numbers)
    }

    /// A JSON object as it is, if there.
    pub fn map(&mut self, name: &'static str) -> Option<Map<String, Value>> {
        match self.value(name)? {
            Value::Object(map) => Some(map),
            other => {
                self.refuse(name, format!("must be an object, not {}", kind(&other)));
                None
            }
        }
    }

    /// An object with fields of its own, if there.
    pub fn object<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Fields<'_>) -> Option<T>) -> Option<T> {
        let map = self.map(name)?;
        let mut inner = Fields {
            path: format!("{}.{name}", self.path),
            map,
            known: Vec::new(),
            problems: self.problems,
        };
        let read = read(&mut inner);
        inner.refuse_unknown();
        read
    }

    fn refuse_unknown(self) {
        for name in self.map.keys() {
            let problem = if self.known.is_empty() {
                "is unknown: this call takes no fields".to_owned()
            } else {
                format!("is unknown; known here: {}", self.known.join(", "))
            };
            self.problems
                .push(FieldProblem::new(format!("{}.{name}", self.path), problem));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems<T: std::fmt::Debug>(read: Result<T, Error>) -> Vec<String> {
        let error = read.unwrap_err();
        assert_eq!(error.code, Code::ValidationFailed, "{error}");
        error.details.unwrap()["fields"]
            .as_array()
            .unwrap()
            .iter()
            .map(|field| {
                format!(
                    "{} {}",
                    field["path"].as_str().unwrap(),
                    field["problem"].as_str().unwrap()
                )
            })
            .collect()
    }

    #[test]
    fn every_problem_is_told_at_once_with_its_path() {
        let body = br#"{"name": 7, "scopes": ["a", 1], "inner": {"deep": true, "typo": 1}, "nmae": "x"}"#;
        let read = read(body, |fields| {
            let name = fields.required("name", |fields, name| fields.text(name, 10));
            fields.list(
                "scopes",
                5,
                |text| if text == "b" { Ok(()) } else { Err("must be b".into()) },
            );
            fields.object("inner", |inner| inner.text("deep", 3));
            fields.required("missing", Fields::flag);
            name
        });
        assert_eq!(
            problems(read),
            [
                "body.name must be a string, not a number",
                "body.scopes[0] must be b",
                "body.scopes[1] must be a string, not a number",
                "body.inner.deep must be a string, not a boolean",
                "body.inner.typo is unknown; known here: deep",
                "body.missing is required",
                "body.nmae is unknown; known here: name, scopes, inner, missing",
            ]
        );
    }

    #[test]
    fn what_is_no_json_or_too_deep_is_malformed() {
        let deep = format!("{}1{}", "[".repeat(65), "]".repeat(65));
        let bottomless = "[".repeat(500_000);
        for bad in ["{", "nope", "{\"a\":1}x", deep.as_str(), bottomless.as_str()] {
            let error = read(bad.as_bytes(), |_| Some(())).unwrap_err();
            assert_eq!(error.code, Code::MalformedJson, "{error}");
        }
        assert_eq!(problems(read(b"[]", |_| Some(()))), ["body must be a JSON object"]);
    }

    #[test]
    fn an_empty_body_is_an_empty_object_and_null_is_absent() {
        assert!(read(b" \n", |_| Some(())).is_ok());
        let read = read(br#"{"name":null}"#, |fields| Some(fields.text("name", 3)));
        assert_eq!(read.unwrap(), None);
    }

    #[test]
    fn a_number_where_a_phone_number_belongs_is_told_how_to_write_it() {
        let read = read(br#"{"to":5511999999999}"#, |fields| fields.address("to"));
        assert_eq!(problems(read), ["body.to must be a string: put the number in quotes"]);
    }
}
