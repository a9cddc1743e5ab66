//! Webhooks: what is promised to whoever relies on them.

mod delivering;
mod managing;
mod misbehaving;
mod replaying;
mod snippets;
