//! The signals that end the controller.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Catches SIGTERM and SIGINT.
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

/// Who wants the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// SIGTERM: the kubelet, when the pod is replaced.
    ByCluster,
    /// SIGINT: a person at a terminal.
    ByPerson,
}

impl Signals {
    pub fn catch() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::ByCluster,
            _ = self.interrupt.recv() => Told::ByPerson,
        }
    }
}
