//! A reverse proxy in front of the gateway: the real nginx and the real Caddy, with the very files of
//! `packaging/proxy` that people copy. Only ports, paths and, where a test says so, one line of them are changed.

mod front;
mod passes;
mod streams;
