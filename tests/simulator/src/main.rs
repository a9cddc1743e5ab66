//! The program `whatsapp-simulator`.
fn main() {}
