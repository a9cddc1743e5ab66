//! `log-level`: how much the running server logs.

use serde_json::json;

use super::arguments::LogLevel;
use super::context::Context;
use super::failure::Failure;

const PATH: &str = "/v1/system/log-level";

pub(super) async fn run(context: &Context, wanted: LogLevel) -> Result<(), Failure> {
    let client = context.server().await?;
    if let Some(level) = wanted.level {
        client.put(PATH, &json!({ "level": level })).await?;
    }
    let now = client.get(PATH).await?;
    context
        .output
        .value(&now, |now| now["level"].as_str().unwrap_or_default().to_owned())
}
