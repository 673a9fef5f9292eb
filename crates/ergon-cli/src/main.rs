//! The program `ergon`.

use std::process::ExitCode;

fn main() -> ExitCode {
    ergon_cli::main()
}
