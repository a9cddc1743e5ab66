//! Every call of the contract that changes something, held against the list.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::harness::gateway::Setup;
use crate::harness::sink::{Answer, Sink};
use crate::harness::{FRIEND, Gateway, OWNER, Simulator, eventually};

/// Calls that leave a row, by operation id. A new call that is not GET must stand here or below.
const AUDITED: &[&str] = &[
    "deliveries.replay",
    "instances.connect",
    "instances.create",
    "instances.delete",
    "instances.disconnect",
    "instances.logout",
    "instances.pair_code",
    // The one GET that changes something: it starts a session.
    "instances.qr",
    "instances.restart",
    "instances.update",
    "keys.create",
    "keys.revoke",
    "settings.update",
    "webhooks.create",
    "webhooks.delete",
    "webhooks.replay",
    "webhooks.rotate_secret",
    "webhooks.test",
    "webhooks.update",
];

/// The same of the dashboard's sign-ins.
const OF_SESSIONS: &[&str] = &[
    "password.change",
    "session.create",
    "session.delete",
    "session.set_up",
    "sessions.end",
    "sessions.end_others",
    "system.set_log_level",
];

/// The same of the owner of the machine alone; the test of backups holds them against the list.
const OF_OWNER: &[&str] = &["backups.create"];

/// Calls that leave none, and why.
const NOT_AUDITED: &[(&str, &str)] = &[
    ("messages.send", "traffic, not a change; GET …/messages/{id} tells it"),
    ("session.open_setup", "kept in memory alone; its use is session.set_up"),
    (
        "stream_tokens.create",
        "changes nothing: a token is its own record and can do less than its key",
    ),
];

/// Whose calls only exist where WhatsApp is simulated.
const SANDBOX: &str = "sandbox.";

const PHONE: &str = "5511966665555";
const OWN_SECRET: &str = "a-secret-of-my-own-0001";

/// Every operation of the contract with its method and path.
async fn operations(gateway: &Gateway) -> Vec<(String, String, String)> {
    let contract = gateway.client.get("/openapi.json").returns(200).await;
    let mut found = Vec::new();
    for (path, item) in contract["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            if let Some(id) = operation["operationId"].as_str() {
                found.push((id.to_owned(), method.to_uppercase(), path.clone()));
            }
        }
    }
    found
}

/// The rows, newest first.
async fn rows(gateway: &Gateway, query: &str) -> Vec<Value> {
    let page = gateway
        .client
        .get(&format!("/v1/audit?limit=100{query}"))
        .returns(200)
        .await;
    page["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_call_that_may_change_something_is_audited_or_says_why_not() {
    let gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await;
    let operations = operations(&gateway).await;
    for (id, method, path) in &operations {
        let decisions = AUDITED
            .iter()
            .chain(OF_SESSIONS)
            .chain(OF_OWNER)
            .filter(|audited| *audited == id)
            .count()
            + NOT_AUDITED
                .iter()
                .filter(|(other, why)| other == id && !why.is_empty())
                .count()
            + usize::from(id.starts_with(SANDBOX));
        let undecided = if method == "GET" { decisions > 1 } else { decisions != 1 };
        assert!(
            !undecided,
            "decide whether {method} {path} ({id}) leaves a row in the audit list"
        );
    }
    let all: BTreeSet<&str> = operations.iter().map(|(id, _, _)| id.as_str()).collect();
    for id in AUDITED
        .iter()
        .chain(OF_SESSIONS)
        .chain(OF_OWNER)
        .chain(NOT_AUDITED.iter().map(|(id, _)| id))
    {
        assert!(all.contains(id), "{id} is no call any more");
    }
}

/// Makes calls and expects the row of each.
struct Story<'a> {
    gateway: &'a Gateway,
    operations: Vec<(String, String, String)>,
    key: String,
    told: BTreeSet<String>,
}

impl Story<'_> {
    /// Makes a call as the test's own key; its row must be the newest and tell this target.
    async fn tells(&mut self, call: (&str, String), body: Value, status: u16, target: (&str, &str)) -> Value {
        let (method, path) = call;
        let mut request = self.gateway.client.call(method, &path);
        if !body.is_null() {
            request = request.json(&body);
        }
        let reply = request.reply(status).await;
        let parts: Vec<&str> = path.split('?').next().unwrap().split('/').collect();
        let (id, _, _) = self
            .operations
            .iter()
            .find(|(_, its_method, template)| {
                let template: Vec<&str> = template.split('/').collect();
                its_method == method
                    && template.len() == parts.len()
                    && template
                        .iter()
                        .zip(&parts)
                        .all(|(one, other)| one.starts_with('{') || one == other)
            })
            .unwrap_or_else(|| panic!("{method} {path} is in the contract"));
        let row = rows(self.gateway, "").await.remove(0);
        let says = |pointer: &str| {
            row.pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        assert_eq!(says("/action"), *id, "{method} {path}: {row:#}");
        assert_eq!(says("/request_id"), reply.header("x-request-id"), "{row:#}");
        let expected = json!({"kind": "key", "id": self.key, "name": "the test's own", "address": "127.0.0.1"});
        assert_eq!(row["actor"], expected);
        let id_of_target = match target.1 {
            "" => reply.json["id"].as_str().unwrap(),
            id => id,
        };
        assert_eq!(
            (says("/target/kind").as_str(), says("/target/id").as_str()),
            (target.0, id_of_target)
        );
        self.told.insert(says("/action"));
        json!({"row": row, "reply": reply.json})
    }
}

#[tokio::test]
#[expect(
    clippy::too_many_lines,
    reason = "one story: every call that changes something, once"
)]
async fn every_change_leaves_a_row_with_who_what_and_on_what_and_never_a_secret() {
    let simulator = Simulator::start().await;
    let mut gateway = crate::harness::sink::gateway(&simulator).await;
    let sink = Sink::start().await;
    let linked = gateway.link(&simulator, OWNER).await;
    let key = rows(&gateway, "&action=keys.create").await.remove(0)["target"]["id"].clone();
    let mut story = Story {
        gateway: &gateway,
        operations: operations(&gateway).await,
        key: key.as_str().unwrap().to_owned(),
        told: BTreeSet::new(),
    };

    let request = json!({"name": "shop", "metadata": {"note": "metadata-is-private"}});
    let made = story
        .tells(("POST", "/v1/instances".into()), request, 201, ("instance", ""))
        .await;
    let shop = made["reply"]["id"].as_str().unwrap().to_owned();
    assert_eq!(
        made["row"]["changes"],
        json!({"name": [null, "shop"], "metadata": [null, "1 field"]})
    );
    let on_shop = |rest: &str| format!("/v1/instances/{shop}{rest}");
    let instance = ("instance", shop.as_str());
    let changed = story
        .tells(("PATCH", on_shop("")), json!({"name": "store"}), 200, instance)
        .await;
    assert_eq!(changed["row"]["changes"], json!({"name": ["shop", "store"]}));
    let settings = json!({"callback_backoff": [1, 2]});
    let changed = story
        .tells(("PATCH", on_shop("/settings")), settings.clone(), 200, instance)
        .await;
    assert_eq!(
        changed["row"]["changes"],
        json!({"callback_backoff": [[10, 60, 300, 1800, 7200], [1, 2]]})
    );
    story.tells(("GET", on_shop("/qr")), Value::Null, 200, instance).await;
    let asked = json!({"phone_number": PHONE});
    let asked = story.tells(("POST", on_shop("/pair-code")), asked, 200, instance).await;
    assert_eq!(asked["row"]["changes"], json!({"phone_number": [null, "…5555"]}));
    let code = asked["reply"]["code"].as_str().unwrap().to_owned();

    // What changes nothing tells nothing.
    let before = rows(&gateway, "").await;
    gateway
        .client
        .patch(&on_shop(""), &json!({"name": "store"}))
        .returns(200)
        .await;
    gateway
        .client
        .patch(&on_shop("/settings"), &settings)
        .returns(200)
        .await;
    gateway.client.get(&on_shop("/qr")).returns(200).await;
    linked.send(FRIEND, "a-text-is-private").await;
    linked.settles().await;
    let refused = json!({"name": "", "scopes": []});
    gateway
        .client
        .post("/v1/api-keys", &refused)
        .refused(400, "validation_failed")
        .await;
    assert_eq!(rows(&gateway, "").await, before);

    let on_linked = ("instance", linked.id.as_str());
    for verb in ["/disconnect", "/connect", "/restart"] {
        story
            .tells(("POST", linked.path(verb)), Value::Null, 200, on_linked)
            .await;
    }
    linked.becomes("connected").await;

    let request = json!({"name": "laptop", "scopes": ["events:read"], "instance_id": shop});
    let made = story
        .tells(("POST", "/v1/api-keys".into()), request, 201, ("key", ""))
        .await;
    let (laptop, secret) = (
        made["reply"]["id"].as_str().unwrap(),
        made["reply"]["secret"].as_str().unwrap(),
    );
    assert_eq!(made["row"]["changes"]["scopes"], json!([null, ["events:read"]]));
    assert_eq!(made["row"]["changes"]["instance_id"], json!([null, shop]));
    let revoked = story
        .tells(
            ("DELETE", format!("/v1/api-keys/{laptop}")),
            Value::Null,
            204,
            ("key", laptop),
        )
        .await;
    assert_eq!(revoked["row"]["target"]["name"], "laptop");

    let url = format!("{}path-is-private?token=query-is-private", sink.url());
    let request = json!({"url": url, "events": ["message.received"], "signing_secret": OWN_SECRET});
    let made = story
        .tells(
            ("POST", "/v1/webhook-endpoints".into()),
            request,
            201,
            ("webhook_endpoint", ""),
        )
        .await;
    let endpoint = made["reply"]["id"].as_str().unwrap().to_owned();
    assert_eq!(made["row"]["changes"]["enabled"], json!([null, true]));
    let on_endpoint = |rest: &str| format!("/v1/webhook-endpoints/{endpoint}{rest}");
    let hook = ("webhook_endpoint", endpoint.as_str());
    let change = json!({"events": ["message.received", "message.sent"], "canary_interval_seconds": 600});
    let changed = story.tells(("PATCH", on_endpoint("")), change, 200, hook).await;
    assert_eq!(changed["row"]["changes"]["canary_interval_seconds"], json!([null, 600]));
    let rotated = story
        .tells(("POST", on_endpoint("/rotate-secret")), Value::Null, 200, hook)
        .await;
    let new_secret = rotated["reply"]["signing_secret"].as_str().unwrap();
    let tested = story
        .tells(("POST", on_endpoint("/test")), Value::Null, 200, hook)
        .await;
    assert_eq!(tested["reply"]["status"], "success");
    simulator.send(FRIEND, OWNER, "a-text-is-private").await;
    sink.event("message.received").await;
    let range = json!({"since": "2020-01-01T00:00:00Z"});
    let dry = json!({"since": "2020-01-01T00:00:00Z", "dry_run": true});
    gateway.client.post(&on_endpoint("/replay"), &dry).returns(200).await;
    let replayed = story.tells(("POST", on_endpoint("/replay")), range, 200, hook).await;
    assert!(replayed["reply"]["count"].as_u64().unwrap() >= 1);
    let deliveries = format!("/v1/webhook-deliveries?limit=1&endpoint_id={endpoint}");
    let delivery = gateway.client.get(&deliveries).returns(200).await["data"][0]["id"].clone();
    let delivery = delivery.as_str().unwrap();
    let again = ("POST", format!("/v1/webhook-deliveries/{delivery}/replay"));
    story
        .tells(again, Value::Null, 202, ("webhook_delivery", delivery))
        .await;

    // 410 switches an endpoint off: nobody asked for it but the receiver.
    eventually("all deliveries to be done", async || {
        let endpoint = gateway.client.get(&on_endpoint("")).returns(200).await;
        let owed = endpoint["health"]["pending"].as_u64()? + endpoint["health"]["retrying"].as_u64()?;
        (owed == 0).then_some(())
    })
    .await;
    sink.always(Answer::Status(410));
    gateway.client.post_empty(&on_endpoint("/test")).returns(200).await;
    let row = rows(&gateway, "").await.remove(0);
    assert_eq!(
        (&row["action"], &row["actor"]),
        (&json!("webhooks.disable"), &json!({"kind": "system"}))
    );
    assert_eq!(row["target"]["id"], *endpoint);

    story.tells(("DELETE", on_endpoint("")), Value::Null, 204, hook).await;
    story
        .tells(("POST", linked.path("/logout")), Value::Null, 200, on_linked)
        .await;
    let deleted = story.tells(("DELETE", on_shop("")), Value::Null, 204, instance).await;
    assert_eq!(deleted["row"]["target"]["name"], "store");

    let told: BTreeSet<&str> = story.told.iter().map(String::as_str).collect();
    assert_eq!(
        told,
        AUDITED.iter().copied().collect(),
        "this story must perform them all"
    );
    let text = json!(rows(&gateway, "").await).to_string();
    let own_key = gateway.client.key().to_owned();
    let private = [
        secret,
        &own_key,
        OWN_SECRET,
        new_secret,
        &code,
        PHONE,
        OWNER,
        "path-is-private",
        "query-is-private",
        "metadata-is-private",
        "a-text-is-private",
    ];
    for private in private {
        assert!(!text.contains(private), "{private} stands in the audit list");
    }
    gateway.stop().await;
}

#[tokio::test]
async fn signing_in_and_out_and_the_password_leave_rows_without_a_word_of_it() {
    const PASSWORD: &str = "a quiet yellow lamp";
    const ANOTHER: &str = "nine green bottles";
    let gateway = Setup::connecting_to("ws://127.0.0.1:9/ws/chat").start().await;
    let nobody = gateway.client.without_key();
    let mut told = BTreeSet::new();
    // The newest row tells this action, by this sign-in, on this target.
    let mut tells = async |action: &str, actor: &str, target: Option<&str>| -> Value {
        let row = rows(&gateway, "").await.remove(0);
        assert_eq!(row["action"], action, "{row:#}");
        assert_eq!(
            row["actor"],
            json!({"kind": "session", "id": actor, "address": "127.0.0.1"})
        );
        let target = target.map(|id| json!({"kind": "session", "id": id}));
        assert_eq!(row["target"], target.unwrap_or_default());
        assert!(row["request_id"].as_str().unwrap().starts_with("req_"));
        told.insert(action.to_owned());
        row["changes"].clone()
    };
    let cookie = |reply: &crate::harness::client::Reply| {
        let cookie = reply.header("set-cookie").split(';').next().unwrap().to_owned();
        (cookie, reply.json["id"].as_str().unwrap().to_owned())
    };
    let link = gateway.owner().post_empty("/v1/setup-links").returns(201).await;
    let (_, token) = link["url"].as_str().unwrap().split_once("/#setup=").unwrap();
    let body = json!({"token": token, "password": PASSWORD});
    let (first, first_id) = cookie(&nobody.post("/v1/setup", &body).reply(201).await);
    tells("session.set_up", &first_id, Some(&first_id)).await;
    let sign_in = || nobody.post("/v1/session", &json!({"password": PASSWORD}));
    let (second, second_id) = cookie(&sign_in().reply(201).await);
    tells("session.create", &second_id, Some(&second_id)).await;
    let (_, third_id) = cookie(&sign_in().reply(201).await);
    let wrong = nobody.post("/v1/session", &json!({"password": ANOTHER}));
    wrong.refused(401, "auth_invalid").await;
    tells("session.create", &third_id, Some(&third_id)).await;

    let by = |cookie: &str, method: &str, path: &str| {
        let call = nobody.call(method, path).header("Cookie", cookie);
        call.header("Sec-Fetch-Site", "same-origin")
    };
    by(&second, "DELETE", "/v1/session").reply(204).await;
    tells("session.delete", &second_id, Some(&second_id)).await;
    by(&first, "DELETE", &format!("/v1/sessions/{third_id}"))
        .reply(204)
        .await;
    tells("sessions.end", &first_id, Some(&third_id)).await;
    sign_in().reply(201).await;
    by(&first, "DELETE", "/v1/sessions").reply(204).await;
    let changes = tells("sessions.end_others", &first_id, None).await;
    assert_eq!(changes, json!({"sessions_ended": [0, 1]}));
    let louder = by(&first, "PUT", "/v1/system/log-level").json(&json!({"level": "debug"}));
    louder.returns(200).await;
    let changes = tells("system.set_log_level", &first_id, None).await;
    assert_eq!(changes, json!({"level": ["info", "debug"]}));
    let passwords = json!({"current_password": PASSWORD, "new_password": ANOTHER});
    by(&first, "PUT", "/v1/password").json(&passwords).reply(204).await;
    tells("password.change", &first_id, None).await;
    // What is done in the dashboard is done by the sign-in.
    let instance = json!({"name": "by hand"});
    by(&first, "POST", "/v1/instances").json(&instance).reply(201).await;
    let row = rows(&gateway, "").await.remove(0);
    assert_eq!(
        (&row["action"], &row["actor"]["id"]),
        (&json!("instances.create"), &json!(first_id))
    );

    let told: BTreeSet<&str> = told.iter().map(String::as_str).collect();
    assert_eq!(
        told,
        OF_SESSIONS.iter().copied().collect(),
        "this story must perform them all"
    );
    let text = json!(rows(&gateway, "").await).to_string();
    for private in [
        PASSWORD,
        ANOTHER,
        token,
        first.as_str(),
        first.split_once('=').unwrap().1,
    ] {
        assert!(!text.contains(private), "{private} stands in the audit list");
    }
}
