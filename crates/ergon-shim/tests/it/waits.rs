//! The wait for a turn, and the ways that end without one.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command};

use ergon_wire::{Exit, ToShim};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::harness::{Place, Talk, silent_end};

/// Waits until the shim has its eye on the directory.
fn until_it_watches(child: &Child) {
    let fds = PathBuf::from(format!("/proc/{}/fd", child.id()));
    let watches = || {
        let entries = std::fs::read_dir(&fds).unwrap();
        entries.flatten().any(|fd| {
            std::fs::read_link(fd.path()).is_ok_and(|target| target.to_string_lossy().contains("inotify"))
        })
    };
    while !watches() {
        std::thread::yield_now();
    }
}

#[test]
fn an_agent_that_comes_later_is_found() {
    let place = Place::new();
    let child = place.shim().spawn().unwrap();
    until_it_watches(&child);
    let mut talk = Talk::greet(&place.listen(), child, &place);
    talk.tell(&ToShim::Skip { step: Box::default(), exit: Exit::Skipped, company: None });
    assert_eq!(talk.finish().exit(), &Exit::Skipped);
}

#[test]
fn a_dead_agents_socket_is_waited_out() {
    let place = Place::new();
    drop(place.listen());
    let child = place.shim().spawn().unwrap();
    until_it_watches(&child);
    let mut talk = Talk::greet(&place.listen(), child, &place);
    talk.tell(&ToShim::Skip { step: Box::default(), exit: Exit::Skipped, company: None });
    assert_eq!(talk.finish().exit(), &Exit::Skipped);
}

#[test]
fn a_skipped_step_records_it() {
    let place = Place::new();
    let listener = place.listen();
    let mut talk = Talk::greet(&listener, place.shim().spawn().unwrap(), &place);
    talk.tell(&ToShim::Skip { step: Box::default(), exit: Exit::Skipped, company: None });
    let ended = talk.finish();
    assert_eq!(ended.exit(), &Exit::Skipped);
    assert_eq!(ended.record.unwrap().exit, Exit::Skipped);
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stderr, "");
}

#[test]
fn an_agent_that_leaves_before_the_turn_interrupts() {
    let place = Place::new();
    let listener = place.listen();
    let ended = Talk::greet(&listener, place.shim().spawn().unwrap(), &place).abandon();
    let message = "the agent was lost before the step's turn came".to_owned();
    assert_eq!(ended.exit(), &Exit::Interrupted { message });
    assert_eq!(ended.code, Some(143));
}

#[test]
fn a_signal_before_the_turn_interrupts() {
    let place = Place::new();
    let listener = place.listen();
    let talk = Talk::greet(&listener, place.shim().spawn().unwrap(), &place);
    // Not a reason to end.
    talk.signal(Signal::SIGHUP);
    talk.signal(Signal::SIGTERM);
    let ended = talk.finish();
    let interrupted = Exit::Interrupted { message: "SIGTERM came before the step's turn".to_owned() };
    assert_eq!(ended.exit(), &interrupted);
    assert_eq!(ended.record.unwrap().exit, interrupted);

    // The same with no agent in sight.
    let place = Place::new();
    let child = place.shim().spawn().unwrap();
    until_it_watches(&child);
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), Signal::SIGTERM).unwrap();
    let ended = silent_end(&place, child);
    assert_eq!(ended.exit(), &interrupted);
    assert_eq!(ended.code, Some(143));
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let place = Place::new();
    std::fs::remove_dir(place.run_dir()).unwrap();
    let ended = silent_end(&place, place.shim().spawn().unwrap());
    let Exit::NotStarted { message } = ended.exit() else { panic!("{ended:?}") };
    assert!(
        message.starts_with(&format!("the directory `{}` cannot be watched: ", place.run_dir().display()))
    );
    assert_eq!(ended.code, Some(127));
}

#[test]
fn it_installs_itself_and_runs_the_scripts_of_sidecars() {
    let place = Place::new();
    let status = Command::new(env!("CARGO_BIN_EXE_ergon-shim"))
        .arg("--install")
        .arg(place.directory.path())
        .status()
        .unwrap();
    assert!(status.success());
    let installed = place.path("ergon-shim");
    assert_eq!(installed.metadata().unwrap().permissions().mode() & 0o777, 0o755);

    let sidecar = |script: &str, args: &[&str]| {
        Command::new(&installed)
            .args(["--script-from", "ERGON_SCRIPT"])
            .args(args)
            .env("ERGON_SCRIPT", script)
            .output()
            .unwrap()
    };
    for (script, args, code, stdout, stderr) in [
        ("#!/bin/sh\necho \"$1:$ERGON_SCRIPT\"; exit 3", &["a b"][..], 3, "a b:\n", ""),
        ("#!/usr/bin/env -S bash -e\nfalse; echo no", &[], 1, "", ""),
        (
            "#!/no/sh\n",
            &[],
            127,
            "",
            "ergon: the script could not be started: `/no/sh`, the interpreter of the script, is not in the image\n",
        ),
    ] {
        let output = sidecar(script, args);
        assert_eq!(output.status.code(), Some(code), "{script}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), stdout);
        assert_eq!(String::from_utf8_lossy(&output.stderr), stderr);
    }
}

#[test]
fn what_is_shown_behind_two_dashes_is_not_run() {
    let place = Place::new();
    let listener = place.listen();
    let mut shim = place.shim();
    shim.args(["--", "false", "--help", "--no-such-option"]);
    let mut talk = Talk::greet(&listener, shim.spawn().unwrap(), &place);
    talk.run(place.script("echo plan"), &BTreeMap::new());
    let ended = talk.finish();
    assert_eq!((ended.exit(), ended.stdout.as_str()), (&Exit::Exited { code: 0 }, "plan\n"));
}

#[test]
fn wrong_arguments_are_explained() {
    let run = |args: &[&str]| Command::new(env!("CARGO_BIN_EXE_ergon-shim")).args(args).output().unwrap();
    for (args, code, expected) in [
        (&["--frobnicate"][..], 2, "ergon-shim: `--frobnicate` is no option\nusage: "),
        (&["--run-dir"], 2, "ergon-shim: `--run-dir` needs a value\nusage: "),
        (&["--help"], 0, "usage: ergon-shim "),
        (&["--version"], 0, concat!("ergon-shim ", env!("CARGO_PKG_VERSION"), "\n")),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(code));
        let told = String::from_utf8_lossy(if code == 0 { &output.stdout } else { &output.stderr });
        assert!(told.starts_with(expected), "{told}");
    }
}
