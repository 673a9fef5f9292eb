//! Text for people: tables, times, colours. Pure: what is printed follows from what is given.

mod amount;
mod describe;
mod failures;
mod linted;
mod live;
mod log;
mod objects;
mod planned;
mod screen;
mod style;
mod table;
mod tested;
mod time;
mod tree;

pub use amount::bytes;
pub use describe::{Tail, describe_pipeline, describe_run, describe_task};
pub use failures::Failures;
pub use linted::{finding, findings_json};
pub use live::{FRAME, Live, Outcome, Place, Row, Summary};
pub use log::LogPainter;
pub use objects::{name_of, objects};
pub use planned::{planned, planned_json};
pub use screen::Screen;
pub use style::Style;
pub use table::Table;
pub use tested::{Tested, covered, mismatches, tested, tested_json, totals};
pub use time::{age, duration, took};
pub use tree::Tree;
