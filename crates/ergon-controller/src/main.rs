//! The controller's program: reads the command line, sets up the log, and runs.

use std::process::ExitCode;

use clap::Parser;
use ergon_controller::args::{Args, LogFormat};
use tracing::error;
use tracing_subscriber::EnvFilter;

fn main() -> ExitCode {
    // Both of rustls' providers may be compiled in: which one is used must be said before its first use.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let args = Args::parse();
    let filter = match EnvFilter::try_new(&args.log_level) {
        Ok(filter) => filter,
        Err(error) => {
            let message = format!("`--log-level {}`: {error}", args.log_level);
            clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{message}\n")).exit()
        }
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match args.log_format {
        LogFormat::Json => log.json().flatten_event(true).init(),
        LogFormat::Text => log.init(),
    }
    // Two threads: nearly all time is spent waiting for the API server.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(ergon_controller::start::run(args)),
        Err(problem) => {
            error!(%problem, "the runtime cannot be started");
            return ExitCode::FAILURE;
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => {
            error!(problem = %chain(&problem), "ends");
            ExitCode::FAILURE
        }
    }
}

/// An error with all its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    text
}
