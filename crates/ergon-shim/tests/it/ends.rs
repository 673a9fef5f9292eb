//! How commands end, and what is left of them.

use ergon_wire::{Exit, OnError, StepPlan, StepResult, StopReason, ToShim};
use nix::sys::signal::Signal;

use crate::harness::{Place, is_gone};

#[test]
fn a_success_is_told_to_everyone() {
    let place = Place::new();
    let ended =
        place.play(place.script(
            "printf 'sha256:1\\n' > $PLACE/results/digest; echo done; echo $ERGON_TERMINATION_MESSAGE",
        ));
    let record = ended.record.unwrap();
    assert_eq!(record.exit, Exit::Exited { code: 0 });
    assert!(record.started_at.unwrap() <= record.finished_at);
    assert!(record.memory_peak_kib > 0);
    // As it is, with its last newline; and a declared result that was not written is none.
    assert_eq!(record.results, [StepResult { name: "digest".into(), value: "sha256:1\n".into() }]);
    assert_eq!(ended.stdout, "done\n\n", "and the shim's own variable is not the command's");
    assert_eq!(ended.stderr, "");
    assert_eq!(ended.code, Some(0));
    assert_eq!(std::fs::read_to_string(place.path("steps/step-test/exitCode")).unwrap(), "0");
}

#[test]
fn exit_codes_and_signals_are_the_commands_own() {
    for (script, on_error, exit, code) in [
        ("exit 3", OnError::StopAndFail, Exit::Exited { code: 3 }, 3),
        ("exit 3", OnError::Continue, Exit::Exited { code: 3 }, 0),
        ("kill -KILL $$", OnError::Continue, Exit::Signaled { signal: 9 }, 137),
        // A real-time signal: not every library can name it.
        ("kill -40 $$", OnError::StopAndFail, Exit::Signaled { signal: 40 }, 168),
    ] {
        let place = Place::new();
        let ended = place.play(StepPlan { on_error, ..place.script(script) });
        assert_eq!((ended.exit(), ended.code), (&exit, Some(code)), "{script}");
        let written = std::fs::read_to_string(place.path("steps/step-test/exitCode")).unwrap();
        assert_eq!(written, exit.code().to_string());
    }
}

#[test]
fn a_timeout_ends_even_what_ignores_it() {
    let place = Place::new();
    let step = StepPlan {
        timeout_ms: Some(1500),
        grace_ms: 100,
        on_error: OnError::Continue,
        ..place.script("trap '' TERM; sleep 1000 & echo $!; wait; wait; sleep 1000")
    };
    let mut talk = place.start(step);
    let child = talk.line();
    let ended = talk.finish();
    assert_eq!(ended.exit(), &Exit::TimedOut);
    assert_eq!(ended.code, Some(1));
    assert_eq!(ended.stderr, "ergon: the step's time was up\n");
    assert!(is_gone(&child));
}

#[test]
fn a_command_that_ends_in_time_did_not_time_out() {
    let place = Place::new();
    let ended = place.play(StepPlan { timeout_ms: Some(i64::MAX), ..place.step(&["true"]) });
    assert_eq!(ended.exit(), &Exit::Exited { code: 0 });
}

#[test]
fn the_agent_stops_a_step_with_its_reason() {
    for (reason, exit, code) in [
        (StopReason::Cancelled, Exit::Cancelled, 143),
        (StopReason::TimedOut, Exit::TimedOut, 1),
        (
            StopReason::Interrupted,
            Exit::Interrupted { message: "the agent of its pod was told to end".to_owned() },
            143,
        ),
    ] {
        let place = Place::new();
        // What the command makes of the signal does not turn it into a success.
        let mut talk = place.start(place.script("trap 'echo bye; exit 0' TERM; echo up; sleep 1000 & wait"));
        assert_eq!(talk.line(), "up");
        talk.tell(&ToShim::Stop { reason, grace_ms: 20_000 });
        let ended = talk.finish();
        assert_eq!((ended.exit(), ended.code), (&exit, Some(code)));
        assert_eq!(ended.stdout, "bye\n");
    }
}

#[test]
fn without_its_agent_a_command_is_ended() {
    let place = Place::new();
    let mut talk = place.start(place.script("sleep 1000 & echo $!; wait"));
    let child = talk.line();
    let ended = talk.abandon();
    assert_eq!(ended.exit(), &Exit::Interrupted { message: "lost the agent".to_owned() });
    assert_eq!(ended.code, Some(143));
    assert!(is_gone(&child));
}

#[test]
fn signals_from_outside_reach_the_command() {
    for (signal, script, exit, code) in [
        (
            Signal::SIGTERM,
            "trap 'echo bye; exit 0' TERM",
            Exit::Interrupted { message: "SIGTERM came from outside".to_owned() },
            143,
        ),
        (
            Signal::SIGINT,
            "trap 'echo bye; exit 0' INT",
            Exit::Interrupted { message: "SIGINT came from outside".to_owned() },
            143,
        ),
        (Signal::SIGHUP, "trap 'echo bye; exit 5' HUP", Exit::Exited { code: 5 }, 5),
        (Signal::SIGUSR1, "trap 'echo bye; exit 6' USR1", Exit::Exited { code: 6 }, 6),
        (Signal::SIGQUIT, "trap 'echo bye; exit 7' QUIT", Exit::Exited { code: 7 }, 7),
    ] {
        let place = Place::new();
        let mut talk = place.start(place.script(&format!("{script}; sleep 1000 & echo up; wait")));
        assert_eq!(talk.line(), "up");
        talk.signal(signal);
        let ended = talk.finish();
        assert_eq!((ended.exit(), ended.code), (&exit, Some(code)), "{signal}");
        assert_eq!(ended.stdout, "bye\n");
    }
}

#[test]
fn nothing_that_a_step_left_behind_lives_on() {
    let place = Place::new();
    // In its group, in a session of its own, and one that does not listen.
    let script = "
        sleep 1000 & echo $!
        setsid sleep 1001 & echo $!
        (trap '' TERM; exec setsid sleep 1002) & echo $!
        sh -c 'sleep 1003 & echo $!'";
    let mut talk = place.start(place.script(script));
    let left: Vec<String> = (0..4).map(|_| talk.line()).collect();
    let ended = talk.finish();
    assert_eq!(ended.exit(), &Exit::Exited { code: 0 });
    for pid in left {
        assert!(is_gone(&pid), "{pid}");
    }
}

#[test]
fn a_command_does_not_outlive_a_killed_shim() {
    let place = Place::new();
    let mut talk = place.start(place.script("echo up; exec sleep 1000"));
    assert_eq!(talk.line(), "up");
    talk.child.kill().unwrap();
    talk.child.wait().unwrap();
    // Its standard output closes with the last process that has it.
    assert_eq!(talk.line(), "");
    assert!(!place.message_path().exists(), "nobody has recorded an end");
}

#[test]
fn results_that_cannot_be_taken_fail_the_step() {
    let place = Place::new();
    let step = StepPlan {
        on_error: OnError::Continue,
        ..place.script(
            "head -c 1001 /dev/zero | tr '\\0' x > $PLACE/results/digest; echo ok > $PLACE/results/url",
        )
    };
    let ended = place.play(step);
    let record = ended.record.unwrap();
    assert_eq!(record.exit, Exit::Exited { code: 0 });
    assert_eq!(record.results, []);
    let expected = "the result `digest` has 1001 bytes: all results of a task together may have 1000; put large data in a workspace";
    assert_eq!(record.results_error.as_deref(), Some(expected));
    assert_eq!(ended.stderr, format!("ergon: {expected}\n"));
    assert_eq!(ended.code, Some(1));
}

#[test]
fn results_over_the_message_go_to_the_agent_alone() {
    let place = Place::new();
    let step = StepPlan { message_limit: 400, ..place.script("printf %0900d 0 > $PLACE/results/digest") };
    let ended = place.play(step);
    assert_eq!(ended.record.unwrap().results[0].value.len(), 900);
    assert!(ended.message.unwrap().results_omitted);
}

#[test]
fn results_of_earlier_steps_are_not_told_again() {
    let place = Place::new();
    std::fs::create_dir(place.path("results")).unwrap();
    std::fs::write(place.path("results/digest"), "theirs").unwrap();
    let ended = place.play(place.script("printf ours > $PLACE/results/url"));
    assert_eq!(ended.record.unwrap().results, [StepResult { name: "url".into(), value: "ours".into() }]);
}
