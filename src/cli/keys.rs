//! `keys create|list|revoke`, through the server that runs, else straight on the store.

use serde_json::{Value, json};

use super::arguments::Keys;
use super::client::{Client, encoded};
use super::context::Context;
use super::failure::Failure;
use super::offline::{self, Offline};
use super::output::Output;
use crate::app::keys::{Draft, Mode};
use crate::domain::access::Caller;
use crate::domain::id::InstanceId;

pub(super) async fn run(context: &Context, command: Keys) -> Result<(), Failure> {
    if let Some(client) = context.server_if_any().await? {
        return through_server(&client, context.output, command).await;
    }
    let offline = offline::open(context, matches!(command, Keys::Create { .. }))?;
    let done = on_store(&offline, context.output, command).await;
    offline.store.close().await;
    done
}

async fn through_server(client: &Client, output: Output, command: Keys) -> Result<(), Failure> {
    match command {
        Keys::Create {
            name,
            instance,
            scopes,
            expires_at,
        } => {
            let mut wanted = json!({ "name": name });
            if let Some(instance) = instance {
                wanted["instance_id"] = client.instance(&instance).await?.into();
            }
            if !scopes.is_empty() {
                wanted["scopes"] = json!(scopes);
            }
            if let Some(at) = expires_at {
                wanted["expires_at"] = json!(at);
            }
            let made = client.post("/v1/api-keys", Some(&wanted)).await?;
            show_created(output, &made)
        }
        Keys::List => show_list(output, &client.list("/v1/api-keys").await?),
        Keys::Revoke { id } => {
            client.delete(&format!("/v1/api-keys/{}", encoded(&id))).await?;
            show_revoked(output, &id)
        }
    }
}

async fn on_store(offline: &Offline, output: Output, command: Keys) -> Result<(), Failure> {
    let keys = &offline.keys;
    match command {
        Keys::Create {
            name,
            instance,
            scopes,
            expires_at,
        } => {
            let instance_id =
                match instance {
                    Some(text) => Some(InstanceId::parse(&text).ok_or_else(|| {
                        Failure::failed("no server is running, so name the instance by its id, inst_…")
                    })?),
                    None => None,
                };
            let draft = Draft {
                name,
                instance_id,
                scopes: (!scopes.is_empty()).then_some(scopes),
                expires_at,
                mode: Mode::Live,
            };
            let made = keys.create(&Caller::OWNER, draft).await?;
            show_created(output, &offline::json(&made))
        }
        Keys::List => {
            let mut all = Vec::new();
            let mut before = None;
            loop {
                let page = keys.list(&Caller::OWNER, before, 100)?;
                before = page.data.last().map(|key| key.id);
                all.extend(page.data.iter().map(offline::json));
                if page.next_cursor.is_none() {
                    return show_list(output, &all);
                }
            }
        }
        Keys::Revoke { id } => {
            keys.revoke(&Caller::OWNER, crate::app::keys::parse_id(&id)?).await?;
            show_revoked(output, &id)
        }
    }
}

/// The key alone on standard output, so that `KEY=$(… keys create --name x)` works.
fn show_created(output: Output, made: &Value) -> Result<(), Failure> {
    output.note("Keep this key; it cannot be shown again.");
    output.value(made, |made| made["secret"].as_str().unwrap_or_default().to_owned())
}

fn show_list(output: Output, keys: &[Value]) -> Result<(), Failure> {
    if keys.is_empty() {
        output.note("There is no key yet. Make one: keys create --name NAME");
    }
    output.table(
        keys,
        &[
            ("ID", "/id"),
            ("NAME", "/name"),
            ("KEY", "/prefix"),
            ("INSTANCE", "/instance_id"),
            ("SCOPES", "/scopes"),
            ("LAST USED", "/last_used_at"),
            ("EXPIRES", "/expires_at"),
        ],
    )
}

fn show_revoked(output: Output, id: &str) -> Result<(), Failure> {
    output.value(&json!({"id": id, "revoked": true}), |_| format!("revoked {id}"))
}
