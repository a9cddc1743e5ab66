//! The words of the product: pure data and pure functions, no I/O, no async, nothing of warp, redb or WhatsApp.
//!
//! Start with [`event`] (what happens) and [`instance`] (the state machine); [`error`] is the closed catalogue of what
//! can go wrong in front of a caller.

pub mod access;
pub mod address;
pub mod audit;
pub mod error;
pub mod event;
pub mod id;
pub mod instance;
pub mod message;
pub mod qr;
pub mod webhook;

pub use crate::sys::clock::Timestamp;
