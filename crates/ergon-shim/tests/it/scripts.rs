//! What is run, and what users read where it cannot be.

use ergon_wire::{Exit, StepPlan};
use nix::mount::{MsFlags, mount, umount};

use crate::harness::Place;

#[test]
fn scripts_run_in_their_interpreter_with_their_arguments() {
    for (script, expected) in [
        ("#!/bin/sh\necho $# $1", "2 a b\n"),
        ("#!/usr/bin/env bash\n[[ $1 == 'a b' ]] && echo ${BASH_VERSION:+bash} $2", "bash c\n"),
        ("#!/usr/bin/env -S bash -eu\necho $-", "ehuB\n"),
        ("#!/bin/bash -x\nset +x 2>/dev/null; basename $0", "script\n"),
        ("#!/bin/cat\nas it is", "#!/bin/cat\nas it is"),
        ("#! sh\necho looked up", "looked up\n"),
    ] {
        let place = Place::new();
        let mut step = place.script(script);
        if !script.starts_with("#!/bin/cat") {
            step.argv = vec!["a b".to_owned(), "c".to_owned()];
        }
        let ended = place.play(step);
        assert_eq!(ended.exit(), &Exit::Exited { code: 0 }, "{script}");
        assert_eq!(ended.stdout, expected, "{script}");
    }
}

#[test]
fn names_are_replaced_from_the_environment() {
    let place = Place::new();
    let argv = ["printf", "%s|", "$(PLACE)/x", "$$(PLACE)", "$(NOT_SET)", "$PLACE"];
    let ended = place.play(place.step(&argv));
    let shown = place.directory.path().display();
    assert_eq!(ended.stdout, format!("{shown}/x|$(PLACE)|$(NOT_SET)|$PLACE|"));
}

#[test]
fn the_working_directory_is_made_and_entered() {
    let place = Place::new();
    let directory = place.path("made/for/it");
    let working_dir = Some(directory.to_str().unwrap().to_owned());
    let ended = place.play(StepPlan { working_dir, ..place.step(&["pwd"]) });
    assert_eq!(ended.stdout.trim_end(), directory.canonicalize().unwrap().to_str().unwrap());
}

#[test]
fn a_step_that_cannot_start_says_why() {
    let place = Place::new();
    std::fs::write(place.path("plain"), "echo").unwrap();
    let plain = place.path("plain").to_str().unwrap().to_owned();
    let step = |argv: &[&str]| Place::new().step(argv);
    let script = |text: &str| Place::new().script(text);
    for (step, expected) in [
        (script("#!/no/bash\n"), "`/no/bash`, the interpreter of the script, is not in the image".to_owned()),
        (
            script("#!/usr/bin/env no-python\n"),
            "the interpreter of the script: `no-python` was not found in PATH (".to_owned(),
        ),
        (script("#!/bin/sh\r\necho\r\n"), "the script's lines end with CR LF".to_owned()),
        (step(&["no-tool", "x"]), "`no-tool` was not found in PATH (".to_owned()),
        (step(&["/no/tool"]), "`/no/tool` is not in the image".to_owned()),
        (step(&["/usr"]), "`/usr` is a directory, not a program".to_owned()),
        (step(&[&plain]), format!("permission denied: `{plain}` (mode 0644) cannot be executed by user ")),
        (step(&[]), "the step has neither a command nor a script".to_owned()),
        (step(&[""]), "the name of the program is empty".to_owned()),
        (
            step(&["true", &"x".repeat(1 << 20)]),
            "are longer than the kernel takes: pass long values in a file".to_owned(),
        ),
        (
            StepPlan { working_dir: Some(format!("{plain}/x")), ..step(&["true"]) },
            format!("the working directory `{plain}/x` is missing and cannot be made: "),
        ),
        (
            StepPlan { working_dir: Some(plain.clone()), ..step(&["true"]) },
            format!("the working directory `{plain}` cannot be entered: "),
        ),
    ] {
        let ended = Place::new().play(step);
        let Exit::NotStarted { message } = ended.exit() else { panic!("{ended:?}") };
        assert!(message.contains(&expected), "{message}");
        assert_eq!(ended.code, Some(127));
        assert_eq!(
            ended.stderr,
            format!("ergon: the step could not be started: {message}\n"),
            "users read logs first"
        );
    }
}

#[test]
fn scripts_run_from_where_nothing_may_be_executed() {
    let place = Place::new();
    let Some(_mounted) = Mounted::at(&place, MsFlags::MS_NOEXEC, "size=1m") else { return };
    let ended = place.play(place.script("echo fine"));
    assert_eq!((ended.exit(), ended.stdout.as_str()), (&Exit::Exited { code: 0 }, "fine\n"));
}

#[test]
fn a_full_disk_is_named() {
    let place = Place::new();
    let Some(_mounted) = Mounted::at(&place, MsFlags::empty(), "size=16k") else { return };
    let ended = place.play(place.script(&"#".repeat(100_000)));
    let Exit::NotStarted { message } = ended.exit() else { panic!("{ended:?}") };
    assert!(message.contains("/run/script`: No space left on device"), "{message}");
}

/// A file system of its own at the run directory.
struct Mounted<'a>(&'a Place);

impl<'a> Mounted<'a> {
    fn at(place: &'a Place, flags: MsFlags, options: &str) -> Option<Self> {
        match mount(Some("tmpfs"), &place.run_dir(), Some("tmpfs"), flags, Some(options)) {
            Ok(()) => Some(Self(place)),
            Err(error) => {
                eprintln!("skipped: mounting needs root: {error}");
                None
            }
        }
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        umount(&self.0.run_dir()).unwrap();
    }
}
