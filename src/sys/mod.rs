//! The floor of the house: time, paths, what the operating system gives and its service manager is told. Knows nothing of the product.

pub mod clock;
pub mod current;
pub mod disk;
pub mod draft;
pub mod locks;
pub mod mounts;
pub mod ownership;
pub mod paths;
pub mod ports;
pub mod process;
pub mod secret;
pub mod service;
pub mod tcp;
