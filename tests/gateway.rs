//! The real gateway against the real simulator, through the front door: what the product promises, as sentences.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod api;
mod audit;
mod backup;
mod browser;
mod cli;
mod crash;
mod doctor;
mod harness;
mod install;
mod packaging;
mod proxy;
mod sandbox;
mod service;
mod sessions;
mod stream;
mod upgrades;
mod webhooks;
