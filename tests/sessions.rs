//! Linking, sending, receiving, losing and finding the connection again.

mod app_state;
mod contents;
mod disk;
mod endings;
mod faults;
mod forgeries;
mod groups;
mod linking;
mod load;
mod messages;
mod pair_code;
mod refusals;
mod sockets;
mod tls;
mod waiting;
mod wishes;
