//! The program `whatisup-sandbox`: everything `whatisup` can, with the simulator inside, on loopback alone.

use std::process::ExitCode;

fn main() -> ExitCode {
    whatisup::cli::run()
}
