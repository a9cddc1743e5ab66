//! The HTTP API without WhatsApp: what is refused and how, who may do what, limits, browsers, health.

mod access;
mod limits;
mod refusals;
mod resources;
mod sessions;
mod system;
