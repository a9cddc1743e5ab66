//! `instances …`: what the API does with instances, for a terminal.

use std::io::{BufRead, IsTerminal, Write};

use serde_json::{Value, json};

use super::arguments::Instances;
use super::client::{Client, encoded};
use super::context::Context;
use super::events::Tail;
use super::failure::Failure;
use super::output::{Output, printable};

pub(super) async fn run(context: &Context, command: Instances) -> Result<(), Failure> {
    let client = context.server().await?;
    let output = context.output;
    match command {
        Instances::List => list(&client, output).await,
        Instances::Create { name } => {
            let made = client.post("/v1/instances", Some(&json!({ "name": name }))).await?;
            output.note(&format!(
                "Made. Link it with a phone: {} instances qr {}",
                super::PROGRAM,
                made["id"].as_str().unwrap_or_default()
            ));
            output.value(&made, |made| made["id"].as_str().unwrap_or_default().to_owned())
        }
        Instances::Show { instance } => {
            let path = path_of(&client, &instance).await?;
            let mut shown = client.get(&path).await?;
            shown["link"] = client.get(&format!("{path}/status")).await?;
            output.value(&shown, lines)
        }
        Instances::Qr { instance, once } => qr(&client, output, &instance, once).await,
        Instances::PairCode { instance, number } => pair_code(&client, output, &instance, &number).await,
        Instances::Connect { instance } => act(&client, output, &instance, "connect").await,
        Instances::Disconnect { instance } => act(&client, output, &instance, "disconnect").await,
        Instances::Restart { instance } => act(&client, output, &instance, "restart").await,
        Instances::Logout { instance } => act(&client, output, &instance, "logout").await,
        Instances::Delete { instance, yes } => delete(&client, output, &instance, yes).await,
    }
}

async fn path_of(client: &Client, instance: &str) -> Result<String, Failure> {
    Ok(format!("/v1/instances/{}", encoded(&client.instance(instance).await?)))
}

async fn list(client: &Client, output: Output) -> Result<(), Failure> {
    let all = client.list("/v1/instances").await?;
    if all.is_empty() {
        output.note(&format!(
            "There is no instance yet. Make one: {} instances create NAME",
            super::PROGRAM
        ));
    }
    output.table(
        &all,
        &[
            ("ID", "/id"),
            ("NAME", "/name"),
            ("STATUS", "/status"),
            ("NUMBER", "/phone_number"),
            ("WHY", "/status_reason/message"),
        ],
    )
}

async fn act(client: &Client, output: Output, instance: &str, verb: &str) -> Result<(), Failure> {
    let path = path_of(client, instance).await?;
    let now = client.post(&format!("{path}/{verb}"), None).await?;
    output.value(&now, |now| {
        let text = |at: &str| {
            now.pointer(at)
                .and_then(Value::as_str)
                .map(printable)
                .unwrap_or_default()
        };
        match text("/status_reason/message") {
            why if why.is_empty() => format!("{} is {}", text("/name"), text("/status")),
            why => format!("{} is {}: {why}", text("/name"), text("/status")),
        }
    })
}

async fn delete(client: &Client, output: Output, instance: &str, yes: bool) -> Result<(), Failure> {
    let path = path_of(client, instance).await?;
    if !yes && std::io::stdin().is_terminal() {
        let name = client.get(&path).await?;
        let name = printable(name["name"].as_str().unwrap_or_default());
        eprint!("Unlink \"{name}\" from its phone and remove it? [y/N] ");
        std::io::stderr().flush()?;
        let mut answer = String::new();
        std::io::stdin().lock().read_line(&mut answer)?;
        if !matches!(answer.trim(), "y" | "Y" | "yes") {
            return Err(Failure::failed("nothing was removed"));
        }
    }
    client.delete(&path).await?;
    let id = path.rsplit('/').next().unwrap_or_default().to_owned();
    output.value(&json!({"id": id, "deleted": true}), |_| format!("removed {id}"))
}

/// Draws the code, again each time WhatsApp changes it, until a phone has linked the instance.
async fn qr(client: &Client, output: Output, instance: &str, once: bool) -> Result<(), Failure> {
    let path = path_of(client, instance).await?;
    if output.json {
        return output.value(&client.get(&format!("{path}/qr")).await?, Value::to_string);
    }
    if once || !std::io::stdout().is_terminal() {
        return output.line(draw(client, &path).await?.trim_end_matches('\n'));
    }
    let id = client.instance(instance).await?;
    // Listening begins before the first code is asked for, so that nothing falls between.
    let mut tail = Tail::new(client.clone(), watching(&id), None);
    tail.connect().await?;
    show_code(client, &path, output).await?;
    loop {
        let event = tail.next().await?;
        match event["event"].as_str() {
            Some("qr.updated") => show_code(client, &path, output).await?,
            Some("instance.connected") => {
                let number = event["phone_number"].as_str().unwrap_or_default();
                return output.line(&format!("Linked and connected: {}", printable(number)));
            }
            Some("instance.status") if event["status"] == "connecting" => {
                output.note("Scanned; connecting …");
            }
            Some("instance.status") if event["status"] == "failed" || event["status"] == "pending" => {
                let why = event["status_reason"]["message"]
                    .as_str()
                    .unwrap_or("nobody scanned in time");
                return Err(Failure::Failed(format!("not linked: {}", printable(why))));
            }
            _ => {}
        }
    }
}

/// Prints the code alone on standard output; what to do with it is a note.
async fn pair_code(client: &Client, output: Output, instance: &str, number: &str) -> Result<(), Failure> {
    let path = path_of(client, instance).await?;
    let body = json!({ "phone_number": number });
    let made = client.post(&format!("{path}/pair-code"), Some(&body)).await?;
    output.note(&format!(
        "On the phone: WhatsApp, Linked devices, Link a device, Link with phone number instead. Valid until {}.",
        printable(made["expires_at"].as_str().unwrap_or_default())
    ));
    output.value(&made, |made| printable(made["code"].as_str().unwrap_or_default()))
}

fn watching(id: &str) -> String {
    format!(
        "/v1/events?instance_id={}&events=qr.updated,instance.connected,instance.status",
        encoded(id)
    )
}

async fn draw(client: &Client, path: &str) -> Result<String, Failure> {
    client.get_text(&format!("{path}/qr"), "text/plain").await
}

async fn show_code(client: &Client, path: &str, output: Output) -> Result<(), Failure> {
    let picture = match draw(client, path).await {
        Ok(picture) => picture,
        // Scanned between the event and the question; the next event says so.
        Err(Failure::Refused(refusal)) if refusal.code == "no_qr" => return Ok(()),
        Err(failure) => return Err(failure),
    };
    output.line(&format!(
        "\n{}\nOn the phone: WhatsApp, Linked devices, Link a device. The code changes by itself.",
        picture.trim_end_matches('\n')
    ))
}

/// Name and value, one a line, nested names joined by dots.
fn lines(value: &Value) -> String {
    fn collect(prefix: &str, value: &Value, into: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    let name = if prefix.is_empty() {
                        name.clone()
                    } else {
                        format!("{prefix}.{name}")
                    };
                    collect(&name, value, into);
                }
            }
            Value::Null => {}
            Value::String(text) => into.push(format!("{prefix}: {}", printable(text))),
            other => into.push(format!("{prefix}: {other}")),
        }
    }
    let mut out = Vec::new();
    collect("", value, &mut out);
    out.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_is_shown_as_one_name_and_value_a_line() {
        let value = json!({"id": "inst_1", "status_reason": {"code": "network"}, "phone_number": null});
        assert_eq!(lines(&value), "id: inst_1\nstatus_reason.code: network");
    }
}
