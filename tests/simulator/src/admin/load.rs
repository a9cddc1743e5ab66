//! `/admin/load`: phones write at a given rate, so that whoever reads can be measured.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;

use super::parameters::phone_number;
use super::phones::in_world;
use super::{Answer, Refusal, Route, Run};
use crate::load::{Plan, start};
use crate::world::Hub;

/// The calls.
pub(super) const ROUTES: &[Route] = &[
    Route {
        method: Method::POST,
        path: "/admin/load",
        parameters: "JSON body: from ([numbers]) or phones (so many of its own), to ([numbers]) or companions: true (every \
                     phone that has one), per_second, count or seconds, [length]",
        summary: "Phones write texts `load-0`, `load-1` … at a given rate; 409 while one runs.",
        run: Run::Now(|hub, _, body| begin(hub, body)),
    },
    Route {
        method: Method::GET,
        path: "/admin/load",
        parameters: "",
        summary: "Counters of the load: sent, late, copies for companions and how many those acknowledged, latencies.",
        run: Run::Now(|hub, _, _| Ok(hub.look(|world| world.load.report()))),
    },
    Route {
        method: Method::DELETE,
        path: "/admin/load",
        parameters: "",
        summary: "Stops the load, if one runs; what was sent is still followed.",
        run: Run::Now(|hub, _, _| end(hub)),
    },
];

/// Bounds, so that a slip of the finger is no accident.
const MOST_NUMBERS: usize = 10_000;
const MOST_PER_SECOND: f64 = 100_000.0;
const MOST_MESSAGES: u64 = 1_000_000;
const LONGEST: usize = 65_536;
/// The load's own phones are numbered from here.
const FIRST_WRITER: u64 = 5_511_888_800_001;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    from: Option<Vec<String>>,
    phones: Option<usize>,
    to: Option<Vec<String>>,
    #[serde(default)]
    companions: bool,
    per_second: f64,
    count: Option<u64>,
    seconds: Option<u64>,
    length: Option<usize>,
}

fn begin(hub: &Hub, body: &Bytes) -> Answer {
    let body: Body =
        serde_json::from_slice(body).map_err(|error| Refusal::bad(format!("the body is not a load: {error}")))?;
    if !(body.per_second > 0.0 && body.per_second <= MOST_PER_SECOND) {
        return Err(Refusal::bad(format!(
            "`per_second` must be above 0 and at most {MOST_PER_SECOND}"
        )));
    }
    let length = body.length.unwrap_or(0);
    if length > LONGEST {
        return Err(Refusal::bad(format!("`length` must be at most {LONGEST}")));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "rounded and checked just below"
    )]
    let count = match (body.count, body.seconds) {
        (Some(count), None) => count,
        (None, Some(seconds)) => (seconds as f64 * body.per_second).round() as u64,
        _ => return Err(Refusal::bad("give `count` or `seconds`")),
    };
    if count == 0 || count > MOST_MESSAGES {
        return Err(Refusal::bad(format!("a load has 1 to {MOST_MESSAGES} messages")));
    }
    let from = match (body.from, body.phones) {
        (Some(from), None) => numbers("from", from)?,
        (None, Some(phones @ 1..=MOST_NUMBERS)) => {
            (FIRST_WRITER..).take(phones).map(|number| number.to_string()).collect()
        }
        _ => {
            return Err(Refusal::bad(format!(
                "give `from`, a list of numbers, or `phones`, 1 to {MOST_NUMBERS}"
            )));
        }
    };
    let to = match (body.to, body.companions) {
        (Some(to), false) => numbers("to", to)?,
        (None, true) => hub.look(|world| {
            let linked = world.accounts.iter().filter(|account| !account.companions.is_empty());
            linked.map(|account| account.number.clone()).collect()
        }),
        _ => return Err(Refusal::bad("give `to`, a list of numbers, or `companions`: true")),
    };
    if to.is_empty() {
        return Err(Refusal::new(StatusCode::CONFLICT, "no phone has a linked companion"));
    }
    if hub.look(|world| world.load.is_running()) {
        return Err(Refusal::new(
            StatusCode::CONFLICT,
            "a load runs already; DELETE /admin/load stops it",
        ));
    }
    in_world(hub, |world| {
        from.iter().chain(&to).try_for_each(|number| world.ensure_phone(number))
    })?;
    let plan = Plan {
        from,
        to,
        per_second: body.per_second,
        count,
        length,
    };
    start(hub, plan)?;
    Ok(hub.look(|world| world.load.report()))
}

fn numbers(name: &str, numbers: Vec<String>) -> Result<Vec<String>, Refusal> {
    if numbers.is_empty() || numbers.len() > MOST_NUMBERS {
        return Err(Refusal::bad(format!("`{name}` has 1 to {MOST_NUMBERS} numbers")));
    }
    for number in &numbers {
        phone_number(name, number)?;
    }
    Ok(numbers)
}

fn end(hub: &Hub) -> Answer {
    in_world(hub, |world| {
        world.load.stop();
        Ok(world.load.report())
    })
}
