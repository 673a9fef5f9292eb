//! A person's terminal, connected with that of a program.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};
use tokio::signal::unix::{SignalKind, signal};

/// Somebody sits there who can write and read.
pub fn is_there() -> bool {
    io::stdin().is_terminal() && io::stdout().is_terminal()
}

/// Lets the person at this process's terminal sit at another one until `end`.
///
/// # Errors
/// The terminal cannot be set up.
pub async fn sit_at<T>(terminal: File, end: impl Future<Output = T>) -> io::Result<T> {
    let mut resized = signal(SignalKind::window_change())?;
    follow_size(&terminal);
    let raw = Raw::enter()?;
    let (mut from, mut to) = (terminal.try_clone()?, terminal.try_clone()?);
    // Both on threads of their own, since such reading cannot be waited for. The first one ends with the process.
    std::thread::spawn(move || copy(&mut io::stdin().lock(), &mut to));
    let printing = tokio::task::spawn_blocking(move || copy(&mut from, &mut io::stdout().lock()));
    let mut end = std::pin::pin!(end);
    let ended = loop {
        tokio::select! {
            ended = &mut end => break ended,
            _ = resized.recv() => follow_size(&terminal),
        }
    };
    // What was printed last is read to its end: then nobody has the other side open any more.
    let _ = tokio::time::timeout(std::time::Duration::from_secs(1), printing).await;
    drop(raw);
    Ok(ended)
}

fn follow_size(terminal: &File) {
    if let Ok(size) = tcgetwinsize(io::stdout()) {
        // A program that is told a wrong size draws badly, no more.
        let _ = tcsetwinsize(terminal, size);
    }
}

fn copy(from: &mut impl Read, to: &mut impl Write) {
    let mut bytes = [0; 4096];
    // A terminal whose other side is closed gives an error.
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if to.write_all(&bytes[..count]).and_then(|()| to.flush()).is_err() {
            return;
        }
    }
}

/// Each key goes through as it is; as it was before, once this is dropped.
struct Raw(Termios);

impl Raw {
    fn enter() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
