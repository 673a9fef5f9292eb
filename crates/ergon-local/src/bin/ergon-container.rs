//! The container helper alone, for tests: the `ergon` program starts itself in its place.

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = env::args().skip(1);
    if args.next().as_deref() == Some(ergon_local::CONTAINER_ARG) {
        return ergon_local::container_main(args);
    }
    ExitCode::from(2)
}
