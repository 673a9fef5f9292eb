//! What others embed: submit, watch, follow logs, cancel.
//!
//! ```no_run
//! # async fn example() -> ergon_client::Result<()> {
//! use ergon_client::{Ergon, LogEvent, LogOptions, Options, RunKind, Start};
//! use futures::TryStreamExt;
//!
//! let ergon = Ergon::connect(Options::default()).await?;
//! let mut start = Start::new(RunKind::PipelineRun, "build");
//! start.params.push(("revision".to_owned(), "main".to_owned()));
//! let run = ergon.start(start, false).await?;
//!
//! let mut logs = ergon.logs(&run.reference(), LogOptions { follow: true, ..LogOptions::default() });
//! while let Some(event) = logs.try_next().await? {
//!     match event {
//!         LogEvent::Line(line) => println!("{} | {} | {}", line.task, line.step, line.text),
//!         LogEvent::Note(note) => eprintln!("{}: {}", note.task, note.message),
//!         LogEvent::Ended(run) => println!("{}", run.phase()),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Nothing here polls: every wait is on a watch or on an open log. Nothing here decides about runs.

mod cancel;
mod connect;
mod error;
mod find;
mod logs;
pub mod params;
mod run;
mod submit;
mod watch;

pub use cancel::Cancel;
pub use connect::{Ergon, Options};
pub use error::{Error, Result};
pub use find::ListOptions;
pub use logs::{LogEvent, LogLine, LogNote, LogOptions, LogStream};
pub use run::{Phase, Run, RunKind, RunRef};
pub use submit::{Start, Submitted};
