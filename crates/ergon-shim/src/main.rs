//! The program in every step's container.

fn main() -> std::process::ExitCode {
    ergon_shim::main()
}
