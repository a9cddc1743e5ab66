//! Webhooks in words: endpoints, deliveries, attempts, and when the next attempt is due.
//!
//! A delivery is one event for one endpoint. Its row is written in the event's own transaction, so a committed event
//! and the promise to deliver it are one fact; everything after that only moves the row.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Timestamp;
use super::event::{API_VERSION, EventFilter, EventName};
use super::id::{DeliveryId, EndpointId, EventId, InstanceId, RequestId};

/// Waits before the second, third … attempt when the instance has no `callback_backoff` of its own.
pub const DEFAULT_BACKOFF: &[u32] = &[10, 60, 300, 1_800, 7_200];

/// The most waits that a `callback_backoff` may name.
pub const BACKOFF_LONGEST: usize = 10;

/// The longest single wait that a `callback_backoff` may name: a day.
pub const BACKOFF_SECONDS: u32 = 86_400;

/// A wait is stretched or shortened by at most this part of it, so that what failed together is not retried together.
pub const JITTER: f64 = 0.1;

/// For how long the secret before a rotation signs too.
pub const ROTATION_OVERLAP: Duration = Duration::from_hours(24);

/// For how long a delivery stays readable after it succeeded …
pub const KEPT_AFTER_SUCCESS: Duration = Duration::from_hours(7 * 24);

/// … and otherwise, counted from its making.
pub const KEPT_OTHERWISE: Duration = Duration::from_hours(30 * 24);

/// How much of an answer is kept with an attempt.
pub const ANSWER_KEPT: usize = 1024;

/// What a delivery carries.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    /// An event of an instance.
    Event(EventName),
    /// `webhook.test`: asked for by a person.
    Test,
    /// `webhook.canary`: sent at an interval, to prove that the way is open.
    Canary,
}

impl Subject {
    /// The name as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Subject::Event(name) => name.as_str(),
            Subject::Test => "webhook.test",
            Subject::Canary => "webhook.canary",
        }
    }

    /// Reads a name; `None` for an unknown one.
    pub fn parse(text: &str) -> Option<Subject> {
        match text {
            "webhook.test" => Some(Subject::Test),
            "webhook.canary" => Some(Subject::Canary),
            _ => EventName::parse(text)
                .filter(|name| name.journaled())
                .map(Subject::Event),
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        Subject::parse(&text).ok_or_else(|| serde::de::Error::custom("is no event name"))
    }
}

impl JsonSchema for Subject {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "DeliveredEvent".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let names: Vec<&str> = EventName::ALL
            .iter()
            .filter(|name| name.journaled())
            .map(|name| name.as_str())
            .chain([Subject::Test.as_str(), Subject::Canary.as_str()])
            .collect();
        schemars::json_schema!({"type": "string", "enum": names})
    }
}

/// A signing secret as the store keeps it: encrypted under a key that is not in the store, in base64.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SealedSecret(pub String);

/// Says that there is one and no more.
impl fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealedSecret(…)")
    }
}

/// The secret before the last rotation.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PreviousSecret {
    /// The secret.
    pub sealed: SealedSecret,
    /// Until when it signs too.
    pub until: Timestamp,
}

/// Why an endpoint gets nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DisabledReason {
    /// Switched off through the API.
    ByRequest,
    /// It answered `410 Gone`.
    Gone,
}

/// Where events are posted, as stored.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Endpoint {
    /// Its public name.
    pub id: EndpointId,
    /// The target.
    pub url: String,
    /// For people.
    pub description: Option<String>,
    /// Which events; empty is all.
    pub events: Vec<EventName>,
    /// Of which instances; `None` is all, also those that come later.
    pub instance_ids: Option<Vec<InstanceId>>,
    /// Why it gets nothing; `None` while it gets events.
    pub disabled: Option<DisabledReason>,
    /// What signs.
    pub secret: SealedSecret,
    /// What signs too for a while after a rotation.
    pub previous_secret: Option<PreviousSecret>,
    /// Whether the caller chose the secret.
    pub has_custom_signing_secret: bool,
    /// Every how many seconds a canary is sent; `None` is never.
    pub canary_seconds: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed through the API.
    pub updated_at: Timestamp,
    /// When it was deleted; the row stays while its deliveries can still be read.
    pub deleted_at: Option<Timestamp>,
}

impl Endpoint {
    /// Whether new events make deliveries for it.
    pub const fn takes_events(&self) -> bool {
        self.disabled.is_none() && self.deleted_at.is_none()
    }

    /// Whether an event of this instance and name is for it.
    pub fn wants(&self, instance: InstanceId, name: EventName) -> bool {
        let of_instance = self
            .instance_ids
            .as_ref()
            .is_none_or(|wanted| wanted.contains(&instance));
        of_instance && self.filter().wants(instance, name)
    }

    /// The names it wants, of whatever instance.
    pub fn filter(&self) -> EventFilter {
        EventFilter::ALL.of_names(&self.events)
    }
}

/// How deliveries to an endpoint have gone; beside the endpoint, because it changes with every attempt.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Health {
    /// When an attempt last succeeded: the way was proven open.
    pub last_success_at: Option<Timestamp>,
    /// When an attempt last failed.
    pub last_failure_at: Option<Timestamp>,
    /// When the failures began that no success has ended yet.
    pub failing_since: Option<Timestamp>,
    /// How many attempts have failed in a row.
    pub consecutive_failures: u32,
    /// What the last failure was.
    pub last_error: Option<String>,
    /// When the last canary was answered with success.
    pub canary_proven_at: Option<Timestamp>,
    /// When the next canary is due.
    pub canary_due_at: Option<Timestamp>,
}

impl Health {
    /// Notes how an attempt went.
    pub fn note(&mut self, subject: Subject, attempt: &Attempt) {
        let ended_at = attempt.at.plus(Duration::from_millis(attempt.duration_ms));
        if attempt.succeeded() {
            self.last_success_at = self.last_success_at.max(Some(ended_at));
            self.failing_since = None;
            self.consecutive_failures = 0;
            if subject == Subject::Canary {
                self.canary_proven_at = self.canary_proven_at.max(Some(ended_at));
            }
        } else {
            self.last_failure_at = self.last_failure_at.max(Some(ended_at));
            self.failing_since = self.failing_since.or(Some(ended_at));
            self.consecutive_failures = self.consecutive_failures.saturating_add(1);
            self.last_error = Some(attempt.problem());
        }
    }
}

/// Where a delivery stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryStatus {
    /// Not attempted yet.
    Pending,
    /// Answered with 2xx.
    Success,
    /// Given up; it can be replayed.
    Failed,
    /// At least one attempt failed and another is planned.
    Retrying,
}

impl DeliveryStatus {
    /// Every status, in the order of the contract.
    pub const ALL: &'static [DeliveryStatus] = &[Self::Pending, Self::Success, Self::Failed, Self::Retrying];

    /// The word as it stands on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Retrying => "retrying",
        }
    }

    /// Reads a word; `None` for an unknown one.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|status| status.as_str() == text)
    }

    /// Whether nothing will happen to it by itself any more.
    pub const fn is_settled(self) -> bool {
        matches!(self, Self::Success | Self::Failed)
    }
}

/// One try to deliver.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Attempt {
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub duration_ms: u64,
    /// The status of the answer, if one came.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub response_status: Option<u16>,
    /// The beginning of the answer's body, at most 1 KiB.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub response_body: Option<String>,
    /// Why it failed, when that is not the status alone.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub error: Option<String>,
}

impl Attempt {
    /// Whether the receiver took it.
    pub fn succeeded(&self) -> bool {
        self.error.is_none() && self.response_status.is_some_and(|status| (200..300).contains(&status))
    }

    /// Whether the receiver never wants anything again.
    pub fn is_gone(&self) -> bool {
        self.response_status == Some(410)
    }

    /// What went wrong, for a person.
    pub fn problem(&self) -> String {
        match (&self.error, self.response_status) {
            (Some(error), _) => error.clone(),
            (None, Some(status)) => format!("answered {status}"),
            (None, None) => "no answer".to_owned(),
        }
    }
}

/// One event for one endpoint, as stored; the payload stands beside it, once for all endpoints.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Delivery {
    /// Its public name.
    pub id: DeliveryId,
    /// Where it goes.
    pub endpoint_id: EndpointId,
    /// Where the event happened; `None` for tests and canaries.
    pub instance_id: Option<InstanceId>,
    /// What it carries.
    pub event: Subject,
    /// The event's id, which is also where the payload stands.
    pub event_id: EventId,
    /// Its place among the endpoint's deliveries.
    pub sequence: u64,
    /// Deliveries with the same one are attempted first in the order of their places; see [`order_of`].
    pub order: u64,
    /// The request that caused it, or a fresh id; receivers get it as correlation id.
    pub correlation_id: RequestId,
    /// The delivery that this one repeats.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replay_of: Option<DeliveryId>,
    /// Where it stands.
    pub status: DeliveryStatus,
    /// What was tried.
    pub attempts: Vec<Attempt>,
    /// When the next attempt is due.
    pub next_attempt_at: Option<Timestamp>,
    /// When it succeeded.
    pub delivered_at: Option<Timestamp>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it may be swept.
    pub expires_at: Timestamp,
}

impl Delivery {
    /// Notes an attempt and decides what comes next: success, another attempt, or the end.
    ///
    /// `waits` are the waits before the second and later attempts; `jitter` is a random number from 0 to 1.
    pub fn note(&mut self, attempt: Attempt, waits: &[u32], jitter: f64, now: Timestamp) {
        self.next_attempt_at = None;
        if attempt.succeeded() {
            self.status = DeliveryStatus::Success;
            self.delivered_at = Some(now);
            self.expires_at = now.plus(KEPT_AFTER_SUCCESS);
        } else {
            let wait = if attempt.is_gone() {
                None
            } else {
                wait_before_attempt(self.attempts.len() + 2, waits, jitter)
            };
            self.status = match wait {
                Some(_) => DeliveryStatus::Retrying,
                None => DeliveryStatus::Failed,
            };
            self.next_attempt_at = wait.map(|wait| now.plus(wait));
        }
        self.attempts.push(attempt);
        self.updated_at = now;
    }
}

/// The body of a delivery that no event caused, in the shape of events.
pub fn synthetic(subject: Subject, endpoint: EndpointId, id: EventId, now: Timestamp) -> String {
    serde_json::json!({
        "event": subject,
        "endpoint_id": endpoint,
        "event_id": id,
        "api_version": API_VERSION,
        "occurred_at": now,
    })
    .to_string()
}

/// How long to wait before the given attempt (the first one is 1), or `None` when there is none left.
pub fn wait_before_attempt(attempt: usize, waits: &[u32], jitter: f64) -> Option<Duration> {
    let index = attempt.checked_sub(2)?;
    let wait = Duration::from_secs(u64::from(*waits.get(index)?));
    Some(wait.mul_f64(1.0 - JITTER + 2.0 * JITTER * jitter.clamp(0.0, 1.0)))
}

/// What is wrong with a list of waits, if anything.
pub fn backoff_problem(waits: &[u32]) -> Option<String> {
    if waits.len() > BACKOFF_LONGEST {
        return Some(format!("must name at most {BACKOFF_LONGEST} waits"));
    }
    if waits.iter().any(|wait| !(1..=BACKOFF_SECONDS).contains(wait)) {
        return Some(format!("each wait must be 1 to {BACKOFF_SECONDS} seconds"));
    }
    None
}

/// The part of an event that decides what must stay in order with it.
#[derive(Deserialize)]
struct Ordered<'a> {
    #[serde(borrow, default)]
    instance_id: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    chat: Option<OrderedChat<'a>>,
    #[serde(borrow)]
    to: Option<std::borrow::Cow<'a, str>>,
}

#[derive(Deserialize)]
struct OrderedChat<'a> {
    #[serde(borrow)]
    jid: std::borrow::Cow<'a, str>,
}

/// A number that is the same for all events of one chat of one instance, and for all events of one instance that
/// belong to no chat. Two chats may share one by chance, which costs nothing but a little waiting.
///
/// Read from the encoded event, so that live events and those replayed from the journal agree.
pub fn order_of(json: &[u8]) -> u64 {
    let Ok(event) = serde_json::from_slice::<Ordered>(json) else {
        return 0;
    };
    let chat = match (&event.chat, &event.to) {
        (Some(chat), _) => chat.jid.as_ref(),
        (None, Some(to)) => to.as_ref(),
        (None, None) => "",
    };
    // Receipts name a person by number alone, messages by the address; both are the same chat.
    let chat = chat.strip_suffix("@s.whatsapp.net").unwrap_or(chat);
    // FNV-1a: stable across versions, because the number is stored.
    let bytes = event.instance_id.bytes().chain([0]).chain(chat.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(status: Option<u16>, error: Option<&str>) -> Attempt {
        Attempt {
            at: Timestamp::from_seconds(100),
            duration_ms: 5,
            response_status: status,
            response_body: None,
            error: error.map(str::to_owned),
        }
    }

    fn delivery() -> Delivery {
        Delivery {
            id: DeliveryId::from_u128(1),
            endpoint_id: EndpointId::from_u128(2),
            instance_id: Some(InstanceId::from_u128(3)),
            event: Subject::Event(EventName::MessageSent),
            event_id: EventId::from_u128(4),
            sequence: 5,
            order: 6,
            correlation_id: RequestId::from_u128(7),
            replay_of: None,
            status: DeliveryStatus::Pending,
            attempts: Vec::new(),
            next_attempt_at: None,
            delivered_at: None,
            created_at: Timestamp::EPOCH,
            updated_at: Timestamp::EPOCH,
            expires_at: Timestamp::EPOCH.plus(KEPT_OTHERWISE),
        }
    }

    #[test]
    fn six_attempts_at_the_waits_of_the_contract_and_then_the_end() {
        let mut delivery = delivery();
        let mut now = Timestamp::from_seconds(1_000);
        for wait in DEFAULT_BACKOFF {
            delivery.note(attempt(Some(500), None), DEFAULT_BACKOFF, 0.5, now);
            assert_eq!(delivery.status, DeliveryStatus::Retrying);
            let next = delivery.next_attempt_at.unwrap();
            assert_eq!(next.since(now), Duration::from_secs(u64::from(*wait)));
            now = next;
        }
        delivery.note(attempt(None, Some("timed out")), DEFAULT_BACKOFF, 0.5, now);
        assert_eq!(
            (delivery.status, delivery.next_attempt_at),
            (DeliveryStatus::Failed, None)
        );
        assert_eq!(delivery.attempts.len(), 6);
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        for (jitter, millis) in [(0.0, 9_000), (0.5, 10_000), (1.0, 11_000), (7.0, 11_000)] {
            let wait = wait_before_attempt(2, DEFAULT_BACKOFF, jitter).unwrap();
            assert_eq!(wait.as_millis(), millis, "{jitter}");
        }
        assert_eq!(wait_before_attempt(1, DEFAULT_BACKOFF, 0.5), None);
        assert_eq!(wait_before_attempt(7, DEFAULT_BACKOFF, 0.5), None);
        assert_eq!(wait_before_attempt(2, &[], 0.5), None);
    }

    #[test]
    fn what_is_gone_is_not_tried_again_and_what_succeeded_neither() {
        let mut gone = delivery();
        gone.note(attempt(Some(410), None), DEFAULT_BACKOFF, 0.5, Timestamp::EPOCH);
        assert_eq!(gone.status, DeliveryStatus::Failed);
        let mut taken = delivery();
        let now = Timestamp::from_seconds(9);
        taken.note(attempt(Some(204), None), DEFAULT_BACKOFF, 0.5, now);
        assert_eq!((taken.status, taken.delivered_at), (DeliveryStatus::Success, Some(now)));
        assert_eq!(taken.expires_at, now.plus(KEPT_AFTER_SUCCESS));
    }

    #[test]
    fn a_redirect_and_a_cut_answer_are_failures() {
        assert!(!attempt(Some(302), None).succeeded());
        assert!(!attempt(Some(200), Some("the answer broke off")).succeeded());
        assert!(attempt(Some(299), None).succeeded());
    }

    #[test]
    fn health_counts_failures_until_a_success() {
        let mut health = Health::default();
        let subject = Subject::Event(EventName::MessageSent);
        health.note(subject, &attempt(Some(503), None));
        health.note(subject, &attempt(None, Some("refused")));
        let began = health.failing_since;
        assert_eq!((began.is_some(), health.consecutive_failures), (true, 2));
        assert_eq!(health.last_error.as_deref(), Some("refused"));
        health.note(Subject::Canary, &attempt(Some(200), None));
        assert_eq!((health.failing_since, health.consecutive_failures), (None, 0));
        assert_eq!(health.canary_proven_at, health.last_success_at);
    }

    #[test]
    fn messages_and_receipts_of_one_chat_share_their_order_and_other_chats_do_not() {
        let order = |json: &str| order_of(json.as_bytes());
        let message =
            order(r#"{"instance_id":"inst_1","chat":{"jid":"551199@s.whatsapp.net","type":"direct"},"to":"x"}"#);
        assert_eq!(message, order(r#"{"instance_id":"inst_1","to":"551199"}"#));
        assert_ne!(message, order(r#"{"instance_id":"inst_2","to":"551199"}"#));
        assert_ne!(message, order(r#"{"instance_id":"inst_1","to":"551198"}"#));
        assert_ne!(message, order(r#"{"instance_id":"inst_1"}"#));
        assert_eq!(
            order(r#"{"instance_id":"inst_1","chat":{"jid":"a\nb"}}"#),
            order(r#"{"instance_id":"inst_1","to":"a\nb"}"#)
        );
    }

    #[test]
    fn a_subject_reads_back_and_what_is_live_only_is_none() {
        for subject in [Subject::Test, Subject::Canary, Subject::Event(EventName::CallEnded)] {
            assert_eq!(Subject::parse(subject.as_str()), Some(subject));
        }
        assert_eq!(Subject::parse("presence.updated"), None);
        assert_eq!(Subject::parse("nope"), None);
    }

    #[test]
    fn a_list_of_waits_is_checked() {
        assert_eq!(backoff_problem(DEFAULT_BACKOFF), None);
        assert_eq!(backoff_problem(&[]), None);
        assert!(backoff_problem(&[1; 11]).is_some());
        assert!(backoff_problem(&[0]).is_some());
        assert!(backoff_problem(&[86_401]).is_some());
    }
}
