//! The commands, and that they and the log leak nothing.

mod commands;
mod dashboard;
mod log;
mod manual;
mod root;
mod terminal;
