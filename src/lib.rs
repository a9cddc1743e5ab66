//! WhatIsUp: a self-hosted WhatsApp gateway in one static binary.
//!
//! The rooms, low to high; arrows go downward and may skip layers, never up (`tests/architecture.rs` holds this):
//!
//! ```text
//! cli ─► http ─► app ─► engine    webhooks       engine and webhooks never name each other
//!                 │        │         │
//!                 │        └─► bus ◄─┘            the bus carries committed events to whoever listens now
//!                 ├──────────► store              the one redb file; one writer thread, group commit
//!                 ▼
//!   config  telemetry  ─►  domain  ─►  sys
//! ```
//!
//! - [`sys`]: the clock, paths, what the operating system gives.
//! - [`domain`]: the words of the product. Start reading here: [`domain::event`], then [`domain::instance`].
//! - [`store`]: the one file. A fact, its event and its deliveries are one transaction.
//! - [`bus`]: committed events, to whoever listens now.
//! - [`engine`]: WhatsApp sessions.
//! - [`webhooks`]: brings committed events to their endpoints, however long that takes.
//! - [`app`]: the use cases, callable without HTTP.
//! - [`http`]: the site: the API by one table of routes, the live stream, the figures, the page.
//! - [`config`], [`telemetry`]: the settings and their layers; the log and what may speak in it.
//! - [`cli`]: the commands; `serve` is where the rooms are put together.

pub mod app;
pub mod bus;
pub mod cli;
pub mod config;
pub mod domain;
pub mod engine;
pub mod http;
pub mod store;
pub mod sys;
pub mod telemetry;
pub mod webhooks;
