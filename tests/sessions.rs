//! Linking, sending, receiving, losing and finding the connection again.

mod app_state;
mod contents;
mod disk;
mod endings;
mod faults;
mod linking;
mod load;
mod messages;
mod pair_code;
mod tls;
