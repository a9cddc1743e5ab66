//! WhatsApp's words and ours: pure functions, both ways.
//!
//! Nothing here waits or stores. What needs a look-up (which phone number belongs to a hidden-number id) is asked
//! before and handed in.

pub(super) mod address;
pub(super) mod body;
mod vcard;
