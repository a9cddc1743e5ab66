//! One request on its way to its handler: who calls, and what was sent, read strictly.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, header};

use super::fields::{self, Fields};
use super::route::Route;
use super::site::Site;
use crate::domain::access::Caller;
use crate::domain::error::{Error, FieldProblem};
use crate::domain::id::RequestId;

/// Items of a page when the caller does not say.
const PAGE: usize = 50;

/// The most items of a page.
const LARGEST_PAGE: usize = 100;

/// One request, authenticated and admitted.
pub struct Call {
    /// Names it in replies, logs and webhooks.
    pub request: RequestId,
    /// Who calls.
    pub caller: Caller,
    /// The site that was called.
    pub site: Arc<Site>,
    pub(super) parameters: Vec<String>,
    pub(super) query: Query,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Call {
    /// The value of the path parameter at this place, counted from 0.
    pub fn parameter(&self, index: usize) -> &str {
        self.parameters.get(index).map_or("", String::as_str)
    }

    /// A query parameter, if given.
    pub fn query(&self, name: &str) -> Option<&str> {
        self.query.get(name)
    }

    /// A header that is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Reads the body; see [`fields::read`].
    pub fn body<T>(&self, read: impl FnOnce(&mut Fields<'_>) -> Option<T>) -> Result<T, Error> {
        fields::read(&self.body, read)
    }

    /// Refuses fields, for calls that take none.
    pub fn no_body(&self) -> Result<(), Error> {
        self.body(|_| Some(()))
    }

    /// Which page is wanted: the cursor read by `parse`, and the number of items.
    pub fn page<T>(&self, parse: impl Fn(&str) -> Option<T>) -> Result<(Option<T>, usize), Error> {
        let mut problems = Vec::new();
        let limit = self.query("limit").map_or(PAGE, |text| {
            let limit = text.parse().ok().filter(|limit| (1..=LARGEST_PAGE).contains(limit));
            limit.unwrap_or_else(|| {
                problems.push(FieldProblem::new("query.limit", "must be a whole number from 1 to 100"));
                PAGE
            })
        });
        let cursor = self.query("cursor").and_then(|text| {
            let cursor = parse(text);
            if cursor.is_none() {
                problems.push(FieldProblem::new(
                    "query.cursor",
                    "must be next_cursor of the page before, unchanged",
                ));
            }
            cursor
        });
        if problems.is_empty() {
            Ok((cursor, limit))
        } else {
            Err(Error::validation(&problems))
        }
    }

    /// Which of these content types the caller wants; the first when it does not care.
    pub fn wanted_type<'a>(&self, offered: &[&'a str]) -> Option<&'a str> {
        negotiate(self.header(header::ACCEPT.as_str()), offered)
    }
}

/// The first acceptable type in the order of the caller's preference. `None` when none is.
pub fn negotiate<'a>(accept: Option<&str>, offered: &[&'a str]) -> Option<&'a str> {
    let Some(accept) = accept.filter(|accept| !accept.trim().is_empty()) else {
        return offered.first().copied();
    };
    let mut best: Option<(&str, f32)> = None;
    for range in accept.split(',') {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts
            .find_map(|part| part.strip_prefix("q="))
            .map_or(1.0, |quality| quality.parse::<f32>().unwrap_or(0.0));
        let matching = offered.iter().copied().find(|offered| {
            name == *offered
                || name == "*/*"
                || name
                    .strip_suffix("/*")
                    .is_some_and(|family| offered.split('/').next() == Some(family))
        });
        if let Some(matching) = matching
            && quality > best.map_or(0.0, |(_, quality)| quality)
        {
            best = Some((matching, quality));
        }
    }
    best.map(|(name, _)| name)
}

/// The query of an address, decoded.
#[derive(Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads what stands behind the `?`.
    pub fn parse(raw: &str) -> Self {
        Self(form_urlencoded::parse(raw.as_bytes()).into_owned().collect())
    }

    /// A parameter's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(given, _)| given == name)?;
        Some(&found.1)
    }

    /// Refuses parameters that the route does not have, and those given twice.
    pub fn check(&self, route: &Route) -> Result<(), Error> {
        let mut problems = Vec::new();
        for (index, (name, _)) in self.0.iter().enumerate() {
            if !route.query.iter().any(|parameter| parameter.name == name) {
                let known: Vec<&str> = route.query.iter().map(|parameter| parameter.name).collect();
                let problem = if known.is_empty() {
                    "is unknown: this call takes no query parameters".to_owned()
                } else {
                    format!("is unknown; known here: {}", known.join(", "))
                };
                problems.push(FieldProblem::new(format!("query.{}", shortened(name)), problem));
            } else if self.0[..index].iter().any(|(other, _)| other == name) {
                problems.push(FieldProblem::new(format!("query.{name}"), "is given twice"));
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(Error::validation(&problems))
        }
    }
}

/// A name chosen by the caller, short enough to be repeated to it.
fn shortened(name: &str) -> String {
    name.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_type_is_the_one_the_caller_likes_best() {
        let offered = ["application/json", "image/png", "text/plain"];
        for (accept, expected) in [
            (None, Some("application/json")),
            (Some("*/*"), Some("application/json")),
            (Some("image/png"), Some("image/png")),
            (Some("image/*"), Some("image/png")),
            (
                Some("text/html, text/plain;q=0.5, application/json;q=0.4"),
                Some("text/plain"),
            ),
            (Some("image/avif,image/webp,*/*;q=0.8"), Some("application/json")),
            (Some("video/mp4"), None),
            (Some("image/png;q=0"), None),
        ] {
            assert_eq!(negotiate(accept, &offered), expected, "{accept:?}");
        }
    }
}
