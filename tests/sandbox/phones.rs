//! The simulated phones, in the hands of whoever looks at the page.

use serde_json::{Value, json};

use super::demonstration;
use crate::harness::gateway::Setup;
use crate::harness::{Client, Gateway, Simulator, Stream, eventually};

/// The phone that scans, and one that answers.
const ACCOUNT: &str = "5511999990001";
const CONTACT: &str = "5511999990002";

/// A sandbox whose first instance is linked to the account's phone.
struct Room {
    gateway: Gateway,
    events: Stream,
    instance: String,
}

impl Room {
    async fn linked() -> Self {
        let gateway = demonstration().await;
        let events = gateway.events().await;
        let instances = gateway.client.get("/v1/instances").returns(200).await;
        let instance = instances["data"][0]["id"].as_str().unwrap().to_owned();
        let mut room = Self {
            gateway,
            events,
            instance,
        };
        room.scan().await;
        room
    }

    fn client(&self) -> &Client {
        &self.gateway.client
    }

    async fn scan(&mut self) {
        self.client()
            .get(&format!("/v1/instances/{}/qr", self.instance))
            .reply(200)
            .await;
        let scan = json!({"instance_id": self.instance});
        self.client().post("/v1/sandbox/scan", &scan).reply(202).await;
        self.events.next("instance.connected").await;
    }

    async fn send(&self, text: &str) -> String {
        let message = json!({"to": CONTACT, "body": {"type": "text", "text": text}});
        let path = format!("/v1/instances/{}/messages", self.instance);
        let accepted = self.client().post(&path, &message).returns(202).await;
        accepted["message_id"].as_str().unwrap().to_owned()
    }

    async fn status(&self) -> Value {
        let path = format!("/v1/instances/{}/status", self.instance);
        self.client().get(&path).returns(200).await
    }

    async fn phone(&self, number: &str) -> Value {
        let about = self.client().get("/v1/sandbox").returns(200).await;
        let phones = about["phones"].as_array().unwrap().clone();
        phones
            .into_iter()
            .find(|phone| phone["phone"] == number)
            .expect("the phone is listed")
    }

    /// What a person does with a phone; answers the phone.
    async fn does(&self, number: &str, deed: &str) -> Value {
        let path = format!("/v1/sandbox/phones/{number}/{deed}");
        self.client().post_empty(&path).returns(200).await
    }

    /// The next event of a name about a message.
    async fn told(&mut self, name: &str, id: &str) -> Value {
        self.events
            .next_where(name, |frame| frame.name() == name && frame.data["message_id"] == id)
            .await
    }
}

#[tokio::test]
async fn a_phone_that_is_offline_gets_its_messages_when_it_comes_back() {
    let mut room = Room::linked().await;
    let phone = room.phone(ACCOUNT).await;
    assert_eq!((&phone["role"], &phone["online"]), (&json!("account"), &json!(true)));
    assert!(phone["name"].as_str().is_some_and(|name| !name.is_empty()));
    assert_eq!(
        phone["linked"],
        json!([{"device": 1, "instance_id": room.instance, "connected": true}])
    );

    assert_eq!(room.does(CONTACT, "offline").await["online"], false);
    let id = room.send("are you there").await;
    room.told("message.sent", &id).await;
    assert_eq!(room.phone(CONTACT).await["waiting"], 1);
    let path = format!("/v1/sandbox/inbox?phone={CONTACT}");
    assert_eq!(room.client().get(&path).returns(200).await["data"], json!([]));
    let written = json!({"from": CONTACT, "text": "from nowhere"});
    room.client()
        .post("/v1/sandbox/messages", &written)
        .refused(409, "invalid_lifecycle_transition")
        .await;

    assert_eq!(room.does(CONTACT, "online").await["online"], true);
    room.told("message.read", &id).await;
    assert_eq!(room.phone(CONTACT).await["waiting"], 0);

    // A linked instance does not need its phone.
    room.does(ACCOUNT, "offline").await;
    let id = room.send("alone").await;
    room.told("message.read", &id).await;
    let status = room.status().await;
    assert_eq!(
        (&status["status"], &status["link"]["linked"]),
        (&json!("connected"), &json!(true))
    );
    room.client()
        .post_empty(&format!("/v1/sandbox/phones/{ACCOUNT}/unlink"))
        .refused(409, "invalid_lifecycle_transition")
        .await;
    room.does(ACCOUNT, "online").await;
}

#[tokio::test]
async fn a_phone_that_removes_its_devices_leaves_a_failed_instance_that_can_be_linked_again() {
    let mut room = Room::linked().await;
    let other = room.gateway.create("other").await;
    let unlink = format!("/v1/sandbox/phones/{ACCOUNT}/unlink");
    room.client()
        .post(&unlink, &json!({"instance_id": other.id}))
        .refused(409, "invalid_lifecycle_transition")
        .await;

    assert_eq!(room.does(ACCOUNT, "unlink").await["linked"], json!([]));
    let ended = room.events.next("instance.disconnected").await;
    assert_eq!(
        (&ended["reason"], &ended["will_retry"]),
        (&json!("logout"), &json!(false))
    );
    let status = eventually("the failure", async || {
        let status = room.status().await;
        (status["status"] == "failed").then_some(status)
    })
    .await;
    assert_eq!(status["status_reason"]["code"], "logout");
    assert_eq!(
        (&status["link"]["linked"], &status["link"]["running"]),
        (&json!(false), &json!(false))
    );
    room.client()
        .post_empty(&unlink)
        .refused(409, "invalid_lifecycle_transition")
        .await;

    room.scan().await;
    let own = json!({"instance_id": room.instance});
    let phone = room.client().post(&unlink, &own).returns(200).await;
    assert_eq!(phone["linked"], json!([]));
    room.events.next("instance.disconnected").await;
}

#[tokio::test]
async fn a_key_of_another_instance_neither_sees_nor_removes_a_device() {
    let room = Room::linked().await;
    let other = room.gateway.create("other").await;
    let bound = room
        .gateway
        .as_key(&json!({"name": "bound", "instance_id": other.id}))
        .await;
    let about = bound.get("/v1/sandbox").returns(200).await;
    assert_eq!(
        about["phones"][0]["linked"],
        json!([{"device": 1, "connected": true}]),
        "whose device it is stays hidden"
    );
    let unlink = format!("/v1/sandbox/phones/{ACCOUNT}/unlink");
    bound
        .post_empty(&unlink)
        .refused(409, "invalid_lifecycle_transition")
        .await;
    bound
        .post(&unlink, &json!({"instance_id": room.instance}))
        .refused(403, "instance_access_denied")
        .await;
    assert_eq!(room.status().await["status"], "connected");
}

#[tokio::test]
async fn the_next_message_to_a_phone_or_from_its_account_fails_and_the_one_after_does_not() {
    let mut room = Room::linked().await;
    for number in [CONTACT, ACCOUNT] {
        assert_eq!(room.phone(number).await["next_message_fails"], false);
        assert_eq!(room.does(number, "fail").await["next_message_fails"], true);
        // Pressed twice it is still one message.
        room.does(number, "fail").await;
        let id = room.send("refused").await;
        let failed = room.told("message.failed", &id).await;
        assert_eq!(failed["error"]["code"], "463", "{failed}");
        assert_eq!(room.phone(number).await["next_message_fails"], false);
        let id = room.send("accepted").await;
        room.told("message.read", &id).await;
    }
    // It is the phone's own trouble: what others are sent arrives.
    room.does("5511999990003", "fail").await;
    let id = room.send("not concerned").await;
    room.told("message.read", &id).await;
    assert_eq!(room.phone("5511999990003").await["next_message_fails"], true);
    assert_eq!(room.status().await["queue_depth"], 0);
}

#[tokio::test]
async fn what_is_no_simulated_phone_is_refused() {
    let gateway = demonstration().await;
    for deed in ["offline", "online", "unlink", "fail"] {
        let path = |number: &str| format!("/v1/sandbox/phones/{number}/{deed}");
        gateway
            .client
            .post_empty(&path("5511900000000"))
            .refused(404, "not_found")
            .await;
        gateway
            .client
            .post_empty(&path("nobody"))
            .refused(400, "validation_failed")
            .await;
        gateway
            .client
            .post(&path(CONTACT), &json!({"surprise": 1}))
            .refused(400, "validation_failed")
            .await;
    }
    let simulator = Simulator::start().await;
    let outside = Setup::connecting_to(&simulator.url()).start().await;
    outside
        .client
        .post_empty(&format!("/v1/sandbox/phones/{CONTACT}/fail"))
        .refused(404, "not_found")
        .await;
}
