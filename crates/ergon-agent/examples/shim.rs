//! The shim as a program of this crate, for its tests: they start real ones.

fn main() -> std::process::ExitCode {
    ergon_shim::main()
}
