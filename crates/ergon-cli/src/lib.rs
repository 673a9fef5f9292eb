//! `ergon`, the command: arguments, what each command does, and text for people.
//!
//! Nothing is decided about runs here: the cluster's side is `ergon-client`, the local side `ergon-local`.

mod args;
mod cluster;
mod commands;
mod complete;
mod console;
mod failure;
mod junit;
mod lint;
mod lsp;
mod manifest;
pub mod render;
mod secrets;
mod terminal;
mod uri;
mod workspaces;

pub use args::{Cli, Output};
pub use failure::{Code, Failure};

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use console::Console;

/// The whole command, with this process's arguments.
///
/// A container and a step of a local run are this same program, started anew under another first argument: they are
/// served before anything starts a thread, because they fork.
pub fn main() -> ExitCode {
    if let Some(code) = personality() {
        return code;
    }
    // kube and the registry client are built without a provider of their own; a second install would be our mistake
    // and is harmless.
    let _ = rustls::crypto::ring::default_provider().install_default();
    complete::if_asked();
    let console = Console::of_process();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    log_to_stderr();
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return report(console, &Failure::new(Code::Unreachable, format!("cannot start: {error}")));
        }
    };
    let result = runtime.block_on(commands::dispatch(cli, console));
    // Reading that nobody waits for any more must not hold the process.
    runtime.shutdown_background();
    match result {
        Ok(()) => Code::Ok.into(),
        Err(failure) => report(console, &failure),
    }
}

/// The definition of the command line, for documentation and completion.
pub fn command() -> clap::Command {
    Cli::command()
}

/// The other programs that this one is.
fn personality() -> Option<ExitCode> {
    let mut args = std::env::args_os();
    let program = args.next().unwrap_or_default();
    if std::path::Path::new(&program).file_name().is_some_and(|name| name == "ergon-shim") {
        return Some(ergon_shim::main());
    }
    let first = args.next()?;
    if first == ergon_local::CONTAINER_ARG {
        return Some(ergon_local::container_main(args.map(|arg| arg.to_string_lossy().into_owned())));
    }
    if first == "__shim" {
        return Some(ergon_shim::run(args));
    }
    None
}

/// Says what is wrong with the command line; help and version are no mistakes.
fn usage(error: &clap::Error) -> ExitCode {
    // Nothing can be done when nobody reads it.
    let _ = error.print();
    if error.use_stderr() { Code::Usage.into() } else { Code::Ok.into() }
}

fn report(console: Console, failure: &Failure) -> ExitCode {
    if !failure.is_silent() {
        console.say(&format!("{} {}", console.err.red("error:"), failure.message));
        if let Some(hint) = &failure.hint {
            console.say("");
            console.hint(hint);
        }
    }
    failure.code.into()
}

/// Logs of our own for whoever looks for a mistake: `ERGON_LOG=debug`.
fn log_to_stderr() {
    let Ok(filter) = tracing_subscriber::EnvFilter::try_from_env("ERGON_LOG") else { return };
    // Fails only when there is one already.
    let _ = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init();
}
