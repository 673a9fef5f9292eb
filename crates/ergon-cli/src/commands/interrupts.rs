//! The signals by which a person ends what goes on.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Result;

/// How a person wants it to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Interrupt {
    /// Ctrl-C, or SIGTERM.
    Asked,
    /// The terminal is gone.
    Left,
}

/// Hears signals, also those that come while nobody waits for one.
#[derive(Debug)]
pub struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Interrupts {
    /// From now on these signals do not end the process.
    pub fn new() -> Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hang_up: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for the next one.
    pub async fn next(&mut self) -> Interrupt {
        tokio::select! {
            _ = self.interrupt.recv() => Interrupt::Asked,
            _ = self.terminate.recv() => Interrupt::Asked,
            _ = self.hang_up.recv() => Interrupt::Left,
        }
    }
}
