//! Webhooks: what is promised to whoever relies on them.

mod bulk;
mod delivering;
mod kills;
mod managing;
mod misbehaving;
mod replaying;
mod snippets;
