//! A real Chromium: the specification's sample from another origin, and the page. `driver` is the handle, `inspect`
//! what every view is asked; each room of the page has a file for its flows.

mod docs;
mod driver;
mod events;
mod gone;
mod inspect;
mod instance;
mod keyboard;
mod keys;
mod overview;
mod page;
mod phone;
mod portrait;
mod sample;
mod sign_in;
mod strange;
mod system;
mod tastes;
mod timers;
mod webhooks;
mod weight;
mod words;
