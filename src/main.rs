//! The program `whatisup`.
fn main() {}
