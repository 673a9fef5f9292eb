//! What a command prints, on its way to the step's log: into a file as well, or without secrets.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use crate::mask::Masker;
use crate::say;

/// How long the last bytes may take once nothing of the command is left: only what no signal ends can hold them up.
const PATIENCE: Duration = Duration::from_secs(2);

/// One output that is being copied.
pub(crate) struct Tee(Receiver<()>);

/// Opens the file, with the directories above it. It is added to: both outputs may go to one file.
///
/// # Errors
/// A fragment for people.
pub(crate) fn open(path: &str) -> Result<File, String> {
    let open = || {
        if let Some(directory) = Path::new(path).parent() {
            std::fs::create_dir_all(directory)?;
        }
        File::options().append(true).create(true).open(path)
    };
    open().map_err(|error| format!("the file `{path}` for its output cannot be opened: {error}"))
}

impl Tee {
    /// Starts copying in a thread of its own, into the file as it is and into the log masked. The signals of this process stay blocked in it.
    pub(crate) fn start(
        from: impl Read + Send + 'static,
        to: impl Write + Send + 'static,
        file: Option<File>,
        masker: Option<Masker>,
    ) -> Self {
        let (ended, end) = channel();
        std::thread::spawn(move || {
            copy(from, to, file, masker);
            let _ = ended.send(());
        });
        Self(end)
    }

    /// Waits until everything is copied.
    pub(crate) fn finish(self) {
        if self.0.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            say(&format_args!(
                "ergon: something still writes to the step's output; the rest of it is not kept"
            ));
        }
    }
}

fn copy(mut from: impl Read, mut to: impl Write, mut file: Option<File>, mut masker: Option<Masker>) {
    let mut buffer = [0; 16 << 10];
    let mut masked = Vec::new();
    loop {
        let count = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let shown = match &mut masker {
            Some(masker) => {
                masked.clear();
                masker.feed(&buffer[..count], &mut masked);
                &masked
            }
            None => &buffer[..count],
        };
        // A log that cannot be written to is no reason to lose the file, and the other way round.
        let _ = to.write_all(shown).and_then(|()| to.flush());
        if let Some(open) = &mut file
            && let Err(error) = open.write_all(&buffer[..count])
        {
            say(&format_args!("ergon: the step's output cannot be kept in its file: {error}"));
            file = None;
        }
    }
    if let Some(masker) = &mut masker {
        masked.clear();
        masker.finish(&mut masked);
        let _ = to.write_all(&masked).and_then(|()| to.flush());
    }
}
