//! The page for people.

use std::fmt::Write as _;

use serde_json::Value;

use super::schema::{self, Row, choices};
use super::{BASE, groups, needs, operation, sample, text};
use crate::domain::error::Code;
use crate::http::error::status;
use crate::http::route::{Access, Answer, Route};

const MARK: &str = "<svg class=\"mark\" viewBox=\"0 0 32 32\" aria-hidden=\"true\"><rect width=\"32\" height=\"32\" rx=\"8\" \
    fill=\"#ffbf1f\"/><path d=\"M6 11.4 10.8 23 15.4 13.9 20 23 25.8 8.6\" fill=\"none\" stroke=\"#14202b\" \
    stroke-width=\"3.2\" stroke-linecap=\"round\" stroke-linejoin=\"round\"/></svg>";

/// Renders it. Writing to a string cannot fail, so the results are not looked at.
pub fn render(document: &Value) -> String {
    let groups = groups();
    let calls: usize = groups.iter().map(|(_, routes)| routes.len()).sum();
    let mut out = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>The API · WhatIsUp</title>\
        <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\
        <meta name=\"color-scheme\" content=\"light dark\"><meta name=\"referrer\" content=\"no-referrer\">\
        <link rel=\"icon\" href=\"/favicon.svg\" type=\"image/svg+xml\">\
        <link rel=\"stylesheet\" href=\"/style/parts.css\"><link rel=\"stylesheet\" href=\"/docs/style.css\">\
        <script src=\"/theme.js\"></script></head><body>\
        <a class=\"skip\" href=\"#main\">Skip to content</a>\
        <header class=\"top\"><a class=\"home\" href=\"/\">{MARK}<b>WhatIsUp</b></a><span class=\"faint\">API {version}</span>\
        <nav aria-label=\"Other forms\"><a href=\"/\">Dashboard</a><a href=\"/openapi.json\">OpenAPI</a>\
        <a href=\"/llms.txt\">llms.txt</a></nav></header>\
        <div class=\"frame\"><nav class=\"side\" aria-label=\"On this page\"><ul>\
        <li><a href=\"#start\">Start</a></li>",
        version = env!("CARGO_PKG_VERSION"),
    );
    for (group, routes) in &groups {
        let _ = write!(
            out,
            "<li><a href=\"#{}\">{} <span>{}</span></a></li>",
            group.id,
            group.title,
            routes.len()
        );
    }
    let _ = write!(
        out,
        "<li><a href=\"#names\">Names of events</a></li><li><a href=\"#errors\">Errors</a></li></ul></nav>\
        <main id=\"main\" tabindex=\"-1\"><h1>What this gateway can be asked.</h1>\
        <p class=\"lead\">{calls} calls over HTTP with JSON, described by the gateway that answers them.</p>"
    );
    start(&mut out, document);
    for (group, routes) in &groups {
        let _ = write!(
            out,
            "<section id=\"{}\"><h2>{}</h2><p class=\"muted\">{}</p><div class=\"sheet\">",
            group.id, group.title, group.what
        );
        for route in routes {
            call(&mut out, document, route);
        }
        out.push_str("</div></section>");
    }
    names(&mut out, document);
    errors(&mut out);
    out.push_str("</main></div></body></html>");
    out
}

fn start(out: &mut String, document: &Value) {
    let _ = write!(
        out,
        "<section id=\"start\"><h2>Start</h2><p>Make a key in the dashboard or with <code>keys create</code>, then try the \
        lines below as they are.</p><pre tabindex=\"0\"><code>export BASE={BASE}\nexport KEY=zpk_live_…\n\
        curl -H \"Authorization: Bearer $KEY\" $BASE/v1/instances</code></pre>\
        <ul class=\"rules\"><li>Unknown fields and parameters are refused with their path, so a typo never passes in silence.</li>\
        <li>Lists are newest first: <code>?limit=</code> up to 100, then <code>?cursor=</code> with <code>next_cursor</code>.</li>\
        <li>Every reply has <code>X-Request-Id</code>; quote it when you report a problem.</li>\
        <li>A send is safe to repeat: the same <code>client_ref</code> or <code>Idempotency-Key</code> within 24 hours sends \
        nothing twice.</li></ul>\
        <details><summary>What a key may do: scopes</summary><div class=\"in\"><dl class=\"pairs\">"
    );
    pairs(out, &choices(&document["components"]["schemas"]["Scope"]));
    out.push_str("</dl></div></details></section>");
}

fn call(out: &mut String, document: &Value, route: &Route) {
    let operation = operation(document, route);
    let verb = route.method.as_str();
    let _ = write!(
        out,
        "<details><summary><span class=\"verb\" data-verb=\"{verb}\">{verb}</span>\
        <code>{path}</code><span class=\"what\">{summary}</span></summary><div class=\"in\" id=\"{id}\">\
        <p class=\"sm muted\">{needs}. <a href=\"#{id}\">{id}</a></p>",
        id = route.id,
        path = parameters_marked(route.path),
        summary = prose(route.summary),
        needs = prose(&needs(route, operation)),
    );
    let mut parameters: Vec<Row> = Vec::new();
    for parameter in operation["parameters"].as_array().into_iter().flatten() {
        let place = parameter["in"].as_str().unwrap_or_default();
        parameters.push(Row {
            name: parameter["name"].as_str().unwrap_or_default().to_owned(),
            kind: match place {
                "query" => schema::kind(document, &parameter["schema"]),
                place => place.to_owned(),
            },
            required: false,
            what: parameter["description"].as_str().unwrap_or_default().to_owned(),
        });
    }
    table(out, "Parameters", &parameters);
    if let Some(body) = operation.pointer("/requestBody/content/application~1json/schema") {
        table(out, "Body", &schema::rows(document, body));
    }
    answer(out, document, route, operation);
    if !route.errors.is_empty() {
        out.push_str("<h3>Errors of its own</h3><p class=\"codes\">");
        for code in route.errors {
            let _ = write!(out, "<code>{} {}</code> ", status(*code).as_u16(), code.as_str());
        }
        out.push_str("</p>");
    }
    let _ = write!(
        out,
        "<pre tabindex=\"0\"><code>{}</code></pre></div></details>",
        escaped(&curl(document, route, operation))
    );
}

fn answer(out: &mut String, document: &Value, route: &Route, operation: &Value) {
    let told = match route.answer {
        Answer::Deleted => "204, nothing to read".to_owned(),
        Answer::Other(kind) => format!("200 as {kind}"),
        Answer::Negotiated(_, others) => format!("200; by Accept also as {}", others.join(", ")),
        Answer::Ok(_) => "200".to_owned(),
        Answer::Created(_) => "201, and Location".to_owned(),
        Answer::Accepted(_) => "202".to_owned(),
    };
    let rows = text::answer(operation)
        .map(|schema| schema::rows(document, schema))
        .unwrap_or_default();
    if rows.is_empty() {
        let _ = write!(out, "<h3>Answer</h3><p class=\"sm\">{}</p>", escaped(&told));
    } else {
        table(out, &format!("Answer: {told}"), &rows);
    }
}

/// A line that works in a shell where BASE and KEY are set.
fn curl(document: &Value, route: &Route, operation: &Value) -> String {
    let mut address = route.path.to_owned();
    for name in route
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
    {
        address = address.replace(&format!("{{{name}}}"), &format!("${}", name.to_ascii_uppercase()));
    }
    let mut line = "curl".to_owned();
    if route.answer_is_stream() {
        line.push_str(" -N");
    }
    if route.method != http::Method::GET {
        let _ = write!(line, " -X {}", route.method);
    }
    if route.access == Access::Owner {
        line.push_str(" --unix-socket $STATE/admin.sock");
        address = format!("http://localhost{address}");
    } else {
        address = format!("$BASE{address}");
    }
    match route.access {
        Access::Free | Access::Scope(_) | Access::Stream(_) => line.push_str(" -H \"Authorization: Bearer $KEY\""),
        Access::Login => line.push_str(" -H \"Origin: $BASE\" -b \"$COOKIE\""),
        Access::Open | Access::Page | Access::Owner => {}
    }
    let _ = write!(line, " {address}");
    if let Some(body) = sample::body(document, operation) {
        let _ = write!(line, " \\\n  -H 'Content-Type: application/json' \\\n  -d '{body}'");
    }
    line
}

fn table(out: &mut String, title: &str, rows: &[Row]) {
    if rows.is_empty() {
        return;
    }
    let _ = write!(out, "<h3>{}</h3><dl class=\"fields\">", escaped(title));
    for row in rows {
        let needed = if row.required && title == "Body" {
            "<b>needed</b>"
        } else {
            ""
        };
        let _ = write!(
            out,
            "<div><dt><code>{}</code>{needed}</dt><dd><span class=\"faint\">{}</span>{}</dd></div>",
            escaped(&row.name),
            prose(&row.kind),
            prose(&row.what)
        );
    }
    out.push_str("</dl>");
}

fn names(out: &mut String, document: &Value) {
    out.push_str(
        "<section id=\"names\"><h2>Names of events</h2><p class=\"muted\">The same object on the stream and in a webhook: \
        <code>event</code>, <code>instance_id</code>, <code>event_id</code>, <code>occurred_at</code> and the fields of the \
        event.</p><div class=\"sheet pad\"><dl class=\"pairs\">",
    );
    pairs(out, &choices(&document["components"]["schemas"]["EventName"]));
    out.push_str("</dl></div></section>");
}

fn errors(out: &mut String) {
    out.push_str(
        "<section id=\"errors\"><h2>Errors</h2><p class=\"muted\">Always <code>{\"error\":{\"code\",\"message\",\"details\"?},\
        \"request_id\"}</code>; the message says what to do next, the code is for programs.</p>\
        <div class=\"sheet pad\"><dl class=\"pairs\">",
    );
    let mut statuses: Vec<u16> = Code::ALL.iter().map(|code| status(*code).as_u16()).collect();
    statuses.sort_unstable();
    statuses.dedup();
    for wanted in statuses {
        let _ = write!(out, "<div><dt><code>{wanted}</code></dt><dd class=\"codes\">");
        for code in Code::ALL.iter().filter(|code| status(**code).as_u16() == wanted) {
            let _ = write!(out, "<code>{}</code> ", code.as_str());
        }
        out.push_str("</dd></div>");
    }
    out.push_str("</dl></div></section>");
}

fn pairs(out: &mut String, pairs: &[(&str, &str)]) {
    for (name, what) in pairs {
        let _ = write!(
            out,
            "<div><dt><code>{}</code></dt><dd>{}</dd></div>",
            escaped(name),
            prose(what)
        );
    }
}

/// `/v1/instances/{id}` with what is variable set apart.
fn parameters_marked(path: &str) -> String {
    path.replace('{', "<i>{").replace('}', "}</i>")
}

/// Text whose `code` is marked up.
fn prose(text: &str) -> String {
    let mut out = String::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            let _ = write!(out, "<code>{}</code>", escaped(part));
        } else {
            out.push_str(&escaped(part));
        }
    }
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}
