//! A directory, a socket and a shim: what every test here starts from.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use ergon_wire::{
    Exit, ExitRecord, FromShim, ResultValue, RunCommand, Script, StepPlan, TerminationMessage, ToShim, paths,
    read_frame, write_frame,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// A test that waits longer fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A place for one step.
pub(crate) struct Place {
    pub(crate) directory: TempDir,
}

impl Place {
    pub(crate) fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir(directory.path().join("run")).unwrap();
        Self { directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn run_dir(&self) -> PathBuf {
        self.path("run")
    }

    pub(crate) fn message_path(&self) -> PathBuf {
        self.path("message")
    }

    /// Binds the socket as the agent does: nobody finds it before it listens.
    pub(crate) fn listen(&self) -> UnixListener {
        let unfinished = self.run_dir().join("agent.new");
        let listener = UnixListener::bind(&unfinished).unwrap();
        std::fs::rename(unfinished, self.run_dir().join(paths::SOCKET)).unwrap();
        listener
    }

    pub(crate) fn shim(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ergon-shim"));
        command
            .arg("--run-dir")
            .arg(self.run_dir())
            .env("ERGON_TERMINATION_MESSAGE", self.message_path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// A step with a command.
    pub(crate) fn step(&self, argv: &[&str]) -> StepPlan {
        StepPlan {
            container: "step-test".to_owned(),
            argv: argv.iter().map(|&word| word.to_owned()).collect(),
            results_dir: self.path("results").to_str().unwrap().to_owned(),
            step_dir: self.path("steps/step-test").to_str().unwrap().to_owned(),
            message_limit: 4096,
            result_limit: 1000,
            grace_ms: 20_000,
            artifacts_dir: Some(self.path("artifacts").to_str().unwrap().to_owned()),
            ..Default::default()
        }
    }

    /// A step with a script for `sh`. It finds its place in `$PLACE`.
    pub(crate) fn script(&self, text: &str) -> StepPlan {
        let text =
            if text.starts_with("#!") { text.to_owned() } else { format!("#!/bin/sh\nset -e\n{text}") };
        StepPlan { script: Some(Script { text, path: None, ..Default::default() }), ..self.step(&[]) }
    }

    /// Runs a step from start to end.
    pub(crate) fn play(&self, step: StepPlan) -> Ended {
        self.start(step).finish()
    }

    /// A step that was told to run.
    pub(crate) fn start(&self, step: StepPlan) -> Talk {
        self.start_with(step, &[])
    }

    /// The same with more variables in its container.
    pub(crate) fn start_with(&self, step: StepPlan, variables: &[(&str, &str)]) -> Talk {
        let listener = self.listen();
        let mut shim = self.shim();
        shim.env("PLACE", self.directory.path()).envs(variables.iter().copied());
        let mut talk = Talk::greet(&listener, shim.spawn().unwrap(), self);
        talk.run(step, &BTreeMap::new());
        talk
    }
}

/// A shim that said hello.
pub(crate) struct Talk {
    pub(crate) stream: UnixStream,
    pub(crate) child: Child,
    stdout: BufReader<ChildStdout>,
    message_path: PathBuf,
}

/// How a shim ended, in all the ways it tells.
#[derive(Debug)]
pub(crate) struct Ended {
    /// What the agent heard; none where the connection was gone.
    pub(crate) record: Option<ExitRecord>,
    pub(crate) message: Option<TerminationMessage>,
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    pub(crate) fn exit(&self) -> &Exit {
        &self.message.as_ref().unwrap_or_else(|| panic!("{self:?}")).record.exit
    }
}

impl Talk {
    pub(crate) fn greet(listener: &UnixListener, mut child: Child, place: &Place) -> Self {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(read_frame(&mut stream).unwrap(), Some(FromShim::Hello));
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { stream, child, stdout, message_path: place.message_path() }
    }

    pub(crate) fn tell(&mut self, message: &ToShim) {
        write_frame(&mut self.stream, message).unwrap();
    }

    /// Tells the shim to run a step, and what its references stand for.
    pub(crate) fn run(&mut self, step: StepPlan, values: &BTreeMap<String, ResultValue>) {
        let results = vec!["digest".to_owned(), "url".to_owned()];
        self.tell(&ToShim::Run(Box::new(RunCommand {
            step,
            results,
            values: values.clone(),
            company: None,
        })));
    }

    /// The next line that the command prints: the way to know how far it is.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    /// Waits for the end: what the agent hears, what the kubelet finds, and the exit code.
    pub(crate) fn finish(mut self) -> Ended {
        let mut started = false;
        let mut record = None;
        while let Ok(Some(message)) = read_frame::<FromShim>(&mut self.stream) {
            match message {
                FromShim::Hello => panic!("said hello twice"),
                FromShim::Started { .. } => started = true,
                FromShim::Ended { record: ended } => {
                    assert_eq!(started, ended.started_at.is_some());
                    record = Some(ended);
                }
            }
        }
        let ended = ended(self.child, &mut self.stdout, &self.message_path, record);
        if let (Some(record), Some(message)) = (&ended.record, &ended.message)
            && !message.results_omitted
        {
            assert_eq!(*record, message.record, "the kubelet and the agent are told the same");
        }
        ended
    }

    /// The agent goes away; the shim is left with the kubelet.
    pub(crate) fn abandon(mut self) -> Ended {
        self.stream.shutdown(std::net::Shutdown::Both).unwrap();
        drop(self.stream);
        ended(self.child, &mut self.stdout, &self.message_path, None)
    }
}

/// The end of a shim that was never spoken to.
pub(crate) fn silent_end(place: &Place, mut child: Child) -> Ended {
    let mut stdout = BufReader::new(child.stdout.take().unwrap());
    ended(child, &mut stdout, &place.message_path(), None)
}

fn ended(mut child: Child, stdout: &mut impl Read, message_path: &Path, record: Option<ExitRecord>) -> Ended {
    let mut shown = String::new();
    stdout.read_to_string(&mut shown).unwrap();
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), None, "the shim itself was killed: {stderr}");
    let message = std::fs::read_to_string(message_path).unwrap_or_default();
    Ended {
        record,
        message: TerminationMessage::decode(&message),
        code: status.code(),
        stdout: shown,
        stderr,
    }
}

/// Whether a process is gone: neither there nor a zombie.
pub(crate) fn is_gone(pid: &str) -> bool {
    !Path::new("/proc").join(pid.trim()).exists()
}
