//! The simulated phones: how they are, and what their owners do with them.

use http::{Method, StatusCode};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::super::Answering;
use super::ask::{ask, query};
use super::{Access, Answer, Code, Route, digits, schema, simulator};
use crate::app::App;
use crate::app::instances::{self, LinkedDevice, parse_id};
use crate::domain::access::{Caller, Scope};
use crate::domain::address::Address;
use crate::domain::error::Error;
use crate::domain::id::InstanceId;
use crate::http::SimulatorInside;
use crate::http::call::Call;
use crate::http::reply::Reply;
use crate::http::route::SchemaOf;

/// WhatsApp's code for accounts that may not write to strangers. Of those that refuse a message for good it is the one a
/// person is likely to meet, and the one whose words say what to do.
const REFUSAL: u16 = 463;

/// Who is simulated.
pub const GET: Route = Route {
    method: Method::GET,
    path: "/v1/sandbox",
    id: "sandbox.get",
    summary: "Sandbox only: where the simulator is and how its phones are",
    access: Access::Scope(Scope::InstancesRead),
    query: &[],
    body: None,
    answer: Answer::Ok(schema::<Sandbox>),
    errors: &[Code::NotFound],
    handler: |app, call| Box::pin(get(app, call)),
};

/// A phone loses its network.
pub const OFFLINE: Route = deed(
    "/v1/sandbox/phones/{phone}/offline",
    "sandbox.offline",
    "Sandbox only: a simulated phone goes offline; what it is sent waits, linked instances go on",
    None,
    |app, call| Box::pin(set_online(app, call, false)),
);

/// A phone gets its network back.
pub const ONLINE: Route = deed(
    "/v1/sandbox/phones/{phone}/online",
    "sandbox.online",
    "Sandbox only: a simulated phone comes online and gets what waited",
    None,
    |app, call| Box::pin(set_online(app, call, true)),
);

/// A phone removes its linked devices.
pub const UNLINK: Route = deed(
    "/v1/sandbox/phones/{phone}/unlink",
    "sandbox.unlink",
    "Sandbox only: a simulated phone removes the devices linked to it, or the one of an instance: that instance is then failed, with the reason logout",
    Some(schema::<Unlink>),
    |app, call| Box::pin(unlink(app, call)),
);

/// The next message of a phone fails.
pub const FAIL: Route = deed(
    "/v1/sandbox/phones/{phone}/fail",
    "sandbox.fail",
    "Sandbox only: WhatsApp refuses the next message that an instance sends to this simulated phone, or from its account: message.failed with the code 463",
    None,
    |app, call| Box::pin(fail(app, call)),
);

/// What a person does with a phone; each deed answers the phone as it is then.
const fn deed(
    path: &'static str,
    id: &'static str,
    summary: &'static str,
    body: Option<SchemaOf>,
    handler: fn(App, Call) -> Answering,
) -> Route {
    Route {
        method: Method::POST,
        path,
        id,
        summary,
        access: Access::Scope(Scope::InstancesWrite),
        query: &[],
        body,
        answer: Answer::Ok(schema::<Shown>),
        errors: &[
            Code::NotFound,
            Code::InstanceNotFound,
            Code::InstanceAccessDenied,
            Code::InvalidLifecycleTransition,
        ],
        handler,
    }
}

/// What is simulated.
#[derive(Serialize, JsonSchema)]
struct Sandbox {
    /// The simulator's admin interface is under `/admin` here.
    simulator: String,
    /// Its phones, the account's first.
    phones: Vec<Shown>,
}

/// A simulated phone.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SimulatedPhone")]
struct Shown {
    /// Its number in digits.
    phone: String,
    /// What its owner is called.
    name: String,
    /// `account` scans QR codes when no phone is named, a `contact` writes and is written to.
    role: &'static str,
    /// Whether it has a network. An instance linked to it works without.
    online: bool,
    /// Messages and other things that wait until it is online again.
    waiting: u64,
    /// Whether WhatsApp refuses the next message to it or from its account.
    next_message_fails: bool,
    /// The devices linked to it.
    linked: Vec<Linked>,
}

/// A device linked to a simulated phone.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "SimulatedDevice")]
struct Linked {
    /// Its number on the phone, from 1.
    device: u16,
    /// The instance that it is; absent for devices of other gateways and programs, and of instances that this key
    /// cannot see.
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<InstanceId>,
    /// Whether it is connected to the simulated WhatsApp now.
    connected: bool,
}

/// Which device to remove.
#[derive(JsonSchema)]
#[schemars(deny_unknown_fields)]
#[expect(dead_code, reason = "describes what `unlink` reads, for the document")]
struct Unlink {
    /// Whose device; all devices of the phone when left out.
    instance_id: Option<InstanceId>,
}

/// What the simulator says of itself, as far as it is read here.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stats {
    phones: Vec<PhoneStats>,
    waiting_faults: Vec<Fault>,
}

#[derive(Deserialize)]
struct PhoneStats {
    phone: String,
    name: String,
    online: bool,
    waiting: u64,
    companions: Vec<Companion>,
}

#[derive(Deserialize)]
struct Companion {
    device: u16,
    connected: bool,
}

#[derive(Deserialize)]
struct Fault {
    kind: String,
    with: Option<String>,
}

/// The phones as they are now.
async fn phones(app: &App, caller: &Caller, inside: &SimulatorInside) -> Result<Vec<Shown>, Error> {
    let stats = ask(inside.addr, Method::GET, "/admin/stats", String::new()).await?;
    let stats: Stats = serde_json::from_value(stats).map_err(Error::internal)?;
    let devices = instances::linked_devices(app, caller)?;
    let role = |number: &str| if number == inside.account { "account" } else { "contact" };
    let phones = stats.phones.into_iter().map(|phone| Shown {
        role: role(&phone.phone),
        name: phone.name,
        online: phone.online,
        waiting: phone.waiting,
        next_message_fails: fails(&stats.waiting_faults, &phone.phone),
        linked: phone
            .companions
            .into_iter()
            .map(|companion| Linked {
                instance_id: owner(&devices, &phone.phone, companion.device),
                device: companion.device,
                connected: companion.connected,
            })
            .collect(),
        phone: phone.phone,
    });
    let mut phones: Vec<Shown> = phones.collect();
    phones.sort_by_key(|phone| phone.role);
    Ok(phones)
}

fn fails(faults: &[Fault], number: &str) -> bool {
    faults
        .iter()
        .any(|fault| fault.kind == "nack" && fault.with.as_deref() == Some(number))
}

fn owner(devices: &[LinkedDevice], number: &str, device: u16) -> Option<InstanceId> {
    devices
        .iter()
        .find(|linked| linked.phone_number == number && linked.device == device)
        .map(|linked| linked.instance)
}

/// The phone of the path as it is now.
async fn phone(app: &App, call: &Call) -> Result<Shown, Error> {
    let inside = simulator(call)?;
    let number =
        Address::parse(call.parameter(0)).map_err(|problem| Error::invalid("path.phone", problem.to_string()))?;
    let number = digits(&number, "path.phone")?;
    phones(app, &call.caller, inside)
        .await?
        .into_iter()
        .find(|phone| phone.phone == number)
        .ok_or_else(|| {
            Error::new(
                Code::NotFound,
                "There is no simulated phone with this number. GET /v1/sandbox lists those there are.",
            )
        })
}

async fn get(app: App, call: Call) -> Result<Reply, Error> {
    let inside = simulator(&call)?;
    Ok(Reply::ok(&Sandbox {
        simulator: format!("http://{}", inside.addr),
        phones: phones(&app, &call.caller, inside).await?,
    }))
}

async fn answered(app: &App, call: &Call) -> Result<Reply, Error> {
    Ok(Reply::json(StatusCode::OK, &phone(app, call).await?))
}

async fn set_online(app: App, call: Call, online: bool) -> Result<Reply, Error> {
    call.no_body()?;
    let phone = phone(&app, &call).await?;
    let word = if online { "online" } else { "offline" };
    let path = format!("/admin/mock-phone/{word}?{}", query(&[("phone", &phone.phone)]));
    ask(simulator(&call)?.addr, Method::POST, &path, String::new()).await?;
    answered(&app, &call).await
}

async fn unlink(app: App, call: Call) -> Result<Reply, Error> {
    let wanted = call.body(|fields| Some(fields.text("instance_id", 64)))?;
    let wanted = wanted.map(|text| parse_id(&text)).transpose()?;
    if let Some(wanted) = wanted {
        instances::get(&app, &call.caller, wanted)?;
    }
    let phone = phone(&app, &call).await?;
    if !phone.online {
        return Err(conflict(
            "This phone is offline. Let it come online first, as a real one would have to.",
        ));
    }
    // A key bound to one instance does not reach those of others.
    let chosen = |device: &&Linked| match wanted.or(call.caller.instance) {
        Some(instance) => device.instance_id == Some(instance),
        None => true,
    };
    let devices: Vec<u16> = phone.linked.iter().filter(chosen).map(|device| device.device).collect();
    if devices.is_empty() {
        return Err(conflict(match wanted {
            Some(_) => "This instance is not linked to this phone. GET /v1/sandbox tells which phone it is linked to.",
            None => "No device is linked to this phone. POST /v1/sandbox/scan links one.",
        }));
    }
    for device in devices {
        let path = format!(
            "/admin/mock-phone/unlink?{}",
            query(&[("phone", &phone.phone), ("device", &device.to_string())])
        );
        ask(simulator(&call)?.addr, Method::POST, &path, String::new()).await?;
    }
    answered(&app, &call).await
}

async fn fail(app: App, call: Call) -> Result<Reply, Error> {
    call.no_body()?;
    let phone = phone(&app, &call).await?;
    // Pressed twice it is still the next message.
    if !phone.next_message_fails {
        let fault: Value = json!({"kind": "nack", "code": REFUSAL, "with": phone.phone});
        ask(simulator(&call)?.addr, Method::POST, "/admin/fault", fault.to_string()).await?;
    }
    answered(&app, &call).await
}

fn conflict(message: &'static str) -> Error {
    Error::new(Code::InvalidLifecycleTransition, message)
}
