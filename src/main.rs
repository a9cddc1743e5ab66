//! The program `whatisup`.

use std::process::ExitCode;

/// A build with the feature `sandbox` skips WhatsApp's certificate check, so it may not run under the product's name.
#[cfg(feature = "sandbox")]
fn main() -> ExitCode {
    eprintln!("this build is for the sandbox; use whatisup-sandbox, or build whatisup without the feature `sandbox`");
    ExitCode::from(2)
}

#[cfg(not(feature = "sandbox"))]
fn main() -> ExitCode {
    whatisup::cli::run()
}
