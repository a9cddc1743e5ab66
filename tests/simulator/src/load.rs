//! Load: phones write at a given rate, and every copy for a companion is followed until the companion acknowledges it.
//!
//! Message `k` is due `k / rate` seconds after the start, so a late step is caught up and the pace does not drift. Each
//! step is a short transaction; what is planned, outstanding and remembered is bounded.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::account::{DeviceAddress, Form};
use crate::phone::chat::Chat;
use crate::phone::compose::text_message;
use crate::world::{Hub, World};

/// Messages of one transaction.
const STEP: u64 = 10;
/// A message sent later than this after it was due counts as late.
const TOLERANCE: Duration = Duration::from_millis(100);
/// Copies without acknowledgement; more are not sent until some are acknowledged.
const MOST_OUTSTANDING: usize = 100_000;

/// What is to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Who writes, in turn.
    pub(crate) from: Vec<String>,
    /// To whom, in turn.
    pub(crate) to: Vec<String>,
    /// Messages in a second.
    pub(crate) per_second: f64,
    /// Messages in all.
    pub(crate) count: u64,
    /// Letters of each text.
    pub(crate) length: usize,
}

/// A load that runs or has run.
#[derive(Default)]
pub(crate) struct Load {
    run: Option<Run>,
    last_id: u64,
}

struct Run {
    id: u64,
    plan: Plan,
    began: Instant,
    ended: Option<Instant>,
    /// Whether what is queued now belongs to the load.
    sending: bool,
    sent: u64,
    late: u64,
    failed: u64,
    last_error: Option<String>,
    copies: u64,
    outstanding: HashMap<(DeviceAddress, u64), Instant>,
    /// Microseconds from sending to acknowledgement, of each copy.
    latencies: Vec<u32>,
    last_acknowledged: Option<Instant>,
}

impl Run {
    fn due(&self, index: u64) -> Instant {
        // A plan is bounded, so the number is exact enough.
        #[expect(clippy::cast_precision_loss, reason = "plans are far below 2^52 messages")]
        let seconds = index as f64 / self.plan.per_second;
        self.began + Duration::from_secs_f64(seconds)
    }

    fn is_over(&self) -> bool {
        self.ended.is_some() || self.sent + self.failed >= self.plan.count
    }
}

impl Load {
    /// Whether one runs.
    pub(crate) fn is_running(&self) -> bool {
        self.run.as_ref().is_some_and(|run| !run.is_over())
    }

    fn begin(&mut self, plan: Plan) -> u64 {
        self.last_id += 1;
        self.run = Some(Run {
            id: self.last_id,
            plan,
            began: Instant::now(),
            ended: None,
            sending: false,
            sent: 0,
            late: 0,
            failed: 0,
            last_error: None,
            copies: 0,
            outstanding: HashMap::new(),
            latencies: Vec::new(),
            last_acknowledged: None,
        });
        self.last_id
    }

    /// Ends it where it is, if one runs.
    pub(crate) fn stop(&mut self) {
        if let Some(run) = self.run.as_mut().filter(|run| !run.is_over()) {
            run.ended = Some(Instant::now());
        }
    }

    /// A message waits for a companion.
    pub(crate) fn queued(&mut self, to: &DeviceAddress, sequence: u64) {
        if let Some(run) = self.run.as_mut().filter(|run| run.sending) {
            run.copies += 1;
            run.outstanding.insert((to.clone(), sequence), Instant::now());
        }
    }

    /// A companion has acknowledged something.
    pub(crate) fn acknowledged(&mut self, by: &DeviceAddress, sequence: u64) {
        let Some(run) = self.run.as_mut().filter(|run| !run.outstanding.is_empty()) else {
            return;
        };
        if let Some(queued) = run.outstanding.remove(&(by.clone(), sequence)) {
            let taken = queued.elapsed().as_micros();
            run.latencies.push(u32::try_from(taken).unwrap_or(u32::MAX));
            run.last_acknowledged = Some(Instant::now());
        }
    }

    /// The counters.
    pub(crate) fn report(&self) -> Value {
        let Some(run) = &self.run else {
            return json!({"running": false});
        };
        let until = run.ended.unwrap_or_else(Instant::now);
        let acknowledged = run.latencies.len();
        let rate = |count: u64, end: Instant| {
            #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
            let rate = count as f64 / end.duration_since(run.began).as_secs_f64().max(0.001);
            (rate * 10.0).round() / 10.0
        };
        json!({
            "running": !run.is_over(),
            "planned": run.plan.count,
            "perSecondWanted": run.plan.per_second,
            "seconds": until.duration_since(run.began).as_secs_f64(),
            "sent": run.sent,
            "perSecondSent": rate(run.sent, until),
            "late": run.late,
            "failed": run.failed,
            "lastError": run.last_error,
            "copies": run.copies,
            "acknowledged": acknowledged,
            "perSecondAcknowledged": run.last_acknowledged.map(|end| rate(acknowledged as u64, end)),
            "outstanding": run.outstanding.len(),
            "latencyMs": percentiles(&run.latencies),
        })
    }
}

fn percentiles(latencies: &[u32]) -> Value {
    let mut sorted = latencies.to_vec();
    sorted.sort_unstable();
    let at = |percent: usize| {
        let index = (sorted.len() * percent / 100).min(sorted.len().checked_sub(1)?);
        Some(f64::from(sorted[index]) / 1000.0)
    };
    json!({"p50": at(50), "p90": at(90), "p99": at(99), "max": at(100)})
}

impl World {
    /// Sends a few messages that are due; tells when to come back, or `None` when this load is over.
    fn load_step(&mut self, id: u64) -> Option<Instant> {
        for _ in 0..STEP {
            let run = self.load.run.as_mut().filter(|run| run.id == id && !run.is_over())?;
            let index = run.sent + run.failed;
            let (due, now) = (run.due(index), Instant::now());
            if due > now {
                return Some(due);
            }
            if run.outstanding.len() >= MOST_OUTSTANDING {
                return Some(now + TOLERANCE);
            }
            run.late += u64::from(now > due + TOLERANCE);
            let (from, to) = pair(&run.plan, index);
            let text = format!("load-{index} {:.<1$}", "", run.plan.length.saturating_sub(12));
            run.sending = true;
            let sent = self.phone_sends(&from, &Chat::Person(to), Form::Number, text_message(&text));
            let run = self.load.run.as_mut()?;
            run.sending = false;
            match sent {
                Ok(_) => run.sent += 1,
                Err(error) => {
                    run.failed += 1;
                    run.last_error = Some(format!("{error:#}"));
                }
            }
            if run.is_over() {
                run.ended = Some(Instant::now());
                return None;
            }
        }
        Some(Instant::now())
    }
}

/// Who writes to whom: everybody writes in turn, and with each round everybody to somebody else.
fn pair(plan: &Plan, index: u64) -> (String, String) {
    let at = |list: &[String], index: u64| list[usize::try_from(index % list.len() as u64).unwrap_or(0)].clone();
    let to = at(&plan.to, index);
    let round = index / plan.to.len() as u64;
    let from = at(&plan.from, index + round);
    if from == to && plan.from.len() > 1 {
        return (at(&plan.from, index + round + 1), to);
    }
    (from, to)
}

/// Starts a load; it goes on by itself.
pub(crate) fn start(hub: &Hub, plan: Plan) -> anyhow::Result<()> {
    let id = hub.act(|world| Ok(world.load.begin(plan)))?;
    let hub = hub.clone();
    tokio::spawn(async move {
        let work = async {
            while let Ok(Some(next)) = hub.act(|world| Ok(world.load_step(id))) {
                tokio::time::sleep_until(next).await;
                // Even when the next is due: sockets and phones have their turn between the steps.
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            () = work => {}
            () = hub.stopped() => {}
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(from: usize, to: usize) -> Plan {
        let numbers = |first: u64, count: usize| (0..count as u64).map(|index| (first + index).to_string()).collect();
        Plan {
            from: numbers(10, from),
            to: numbers(10, to),
            per_second: 4.0,
            count: 100,
            length: 10,
        }
    }

    #[test]
    fn everybody_is_written_to_equally_and_nobody_writes_to_himself() {
        let plan = plan(3, 4);
        let mut counts = HashMap::new();
        for index in 0..100 {
            let (from, to) = pair(&plan, index);
            assert_ne!(from, to);
            *counts.entry(to).or_insert(0) += 1;
        }
        assert!(
            counts.len() == 4 && counts.values().all(|count| *count == 25),
            "{counts:?}"
        );
    }

    #[test]
    fn messages_are_due_by_their_number_alone() {
        let mut load = Load::default();
        load.begin(plan(1, 1));
        let run = load.run.as_ref().unwrap();
        assert_eq!(run.due(0), run.began);
        assert_eq!(run.due(10), run.began + Duration::from_millis(2500));
    }

    #[test]
    fn only_copies_of_the_load_are_followed_and_each_once() {
        let mut load = Load::default();
        let device = DeviceAddress::new("10", 1);
        load.begin(plan(1, 1));
        load.queued(&device, 1);
        load.run.as_mut().unwrap().sending = true;
        load.queued(&device, 2);
        load.run.as_mut().unwrap().sending = false;
        for sequence in [1, 2, 2] {
            load.acknowledged(&device, sequence);
        }
        let report = load.report();
        assert_eq!(
            (&report["copies"], &report["acknowledged"], &report["outstanding"]),
            (&json!(1), &json!(1), &json!(0))
        );
        assert!(report["latencyMs"]["p99"].is_number());
    }
}
