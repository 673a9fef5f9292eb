//! One per pod: carries out the pod plan and reports to the controller.
//!
//! What to do is decided by [`ergon_engine::coordinate`]; this crate speaks to the shims and to the controller. A run
//! on a laptop uses [`carry_out`] alone.

mod carry_out;
mod frame;
mod links;
mod one;
mod plan;
mod report;
mod socket;

use std::time::{SystemTime, UNIX_EPOCH};

pub use carry_out::{CarryOutError, End, carry_out};
pub use links::link_steps;
pub use one::carry_out_one;
pub use plan::{PlanError, from_environment};
pub use report::{Reporter, ReporterError};
pub use socket::SocketError;

/// The time, as records and reports have it.
pub fn now() -> ergon_wire::Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    ergon_wire::Millis::try_from(since.as_millis()).unwrap_or(ergon_wire::Millis::MAX)
}
