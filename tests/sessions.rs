//! Linking, sending, receiving, losing and finding the connection again.

mod endings;
mod faults;
mod linking;
mod messages;
