//! The gateway as something that is operated: started by a service manager, watched, told to read its settings again,
//! stopped.

mod files;
mod listening;
mod manager;
mod reload;
mod stopping;
