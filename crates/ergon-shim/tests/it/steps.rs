//! What steps hand to each other, what they are asked before they run, and where they wait for a person.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use ergon_wire::{Breakpoints, Exit, OnError, ResultValue, StepPlan, StepResult, StopReason, ToShim};

use crate::harness::{Place, Talk};

fn text(place: &Place, name: &str) -> String {
    place.path(name).to_str().unwrap().to_owned()
}

#[test]
fn references_become_values_in_words_and_variables_alone() {
    let place = Place::new();
    let values = BTreeMap::from([
        ("steps.a.results.r".to_owned(), ResultValue::String("$(HOME) value".to_owned())),
        ("steps.a.results.l[*]".to_owned(), ResultValue::Array(vec!["1".to_owned(), "2 3".to_owned()])),
    ]);
    let script = "printf '<%s>' \"$@\" \"$VARIABLE\" '$(steps.a.results.r)'; echo";
    let argv = ["$(steps.a.results.l[*])", "=$(steps.a.results.r)", "$(VARIABLE)", "$(steps.b.results.r)"]
        .map(str::to_owned)
        .to_vec();
    let step = StepPlan { argv, ..place.script(script) };
    let listener = place.listen();
    let shim = place.shim().env("VARIABLE", "v $(steps.a.results.r)").spawn().unwrap();
    let mut talk = Talk::greet(&listener, shim, &place);
    talk.run(step, &values);
    let ended = talk.finish();
    assert_eq!(
        ended.stdout,
        "<1><2 3><=$(HOME) value><v $(HOME) value><$(steps.b.results.r)><v $(HOME) value><$(steps.a.results.r)>\n"
    );
}

#[test]
fn a_step_leaves_results_and_artifacts_of_its_own() {
    let place = Place::new();
    let step = StepPlan {
        step_results: vec!["own".to_owned(), "none".to_owned()],
        ..place.script(
            "cd $PLACE; printf 1 > steps/step-test/results/own; printf 2 > steps/step-test/results/undeclared
             printf '{}' > steps/step-test/artifacts/provenance.json; printf '{\"inputs\":[]}' > artifacts/provenance.json
             printf 3 > results/url; exit 4",
        )
    };
    let ended = place.play(StepPlan { on_error: OnError::Continue, ..step });
    let record = ended.record.unwrap();
    assert_eq!(record.exit, Exit::Exited { code: 4 });
    assert_eq!(record.results, [StepResult { name: "url".into(), value: "3".into() }]);
    assert_eq!(record.step_results, [StepResult { name: "own".into(), value: "1".into() }]);
    assert_eq!(record.step_artifacts.as_deref(), Some("{}"));
    assert_eq!(record.artifacts.as_deref(), Some("{\"inputs\":[]}"));
    assert_eq!(std::fs::read_to_string(place.path("steps/step-test/exitCode")).unwrap(), "4");
}

#[test]
fn a_step_whose_condition_does_not_hold_ends_well_without_a_run() {
    let place = Place::new();
    let listener = place.listen();
    let mut talk = Talk::greet(&listener, place.shim().spawn().unwrap(), &place);
    let step = Box::new(place.script("touch $PLACE/ran"));
    talk.tell(&ToShim::Skip { step, exit: Exit::WhenFalse, company: None });
    let ended = talk.finish();
    assert_eq!((ended.exit(), ended.code), (&Exit::WhenFalse, Some(0)));
    assert_eq!(std::fs::read_to_string(place.path("steps/step-test/exitCode")).unwrap(), "0");
    assert!(!place.path("ran").exists());
}

#[test]
fn what_a_command_prints_is_kept_in_files_too() {
    let place = Place::new();
    let step = StepPlan {
        stdout_path: Some(text(&place, "results/digest")),
        stderr_path: Some(text(&place, "new/directory/errors")),
        ..place.script("printf out; printf err >&2")
    };
    let ended = place.play(step);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("out", "err"));
    assert_eq!(std::fs::read_to_string(place.path("new/directory/errors")).unwrap(), "err");
    // All of it is there by the time that results are read.
    let results = ended.record.unwrap().results;
    assert_eq!(results, [StepResult { name: "digest".into(), value: "out".into() }]);
}

#[test]
fn both_outputs_may_go_to_one_file_and_a_file_that_cannot_be_opened_is_told() {
    let place = Place::new();
    let both = Some(text(&place, "both"));
    let step = StepPlan {
        stdout_path: both.clone(),
        stderr_path: both,
        ..place.script("echo a; echo b >&2; dd if=/dev/zero bs=1024 count=256 2>/dev/null | tr '\\0' x")
    };
    let ended = place.play(step);
    assert_eq!(ended.exit(), &Exit::Exited { code: 0 });
    assert_eq!(std::fs::metadata(place.path("both")).unwrap().len(), 4 + (256 << 10));

    let place = Place::new();
    let ended =
        place.play(StepPlan { stdout_path: Some("/proc/none/x".to_owned()), ..place.step(&["true"]) });
    let Exit::NotStarted { message } = ended.exit() else { panic!("{ended:?}") };
    assert!(message.starts_with("the file `/proc/none/x` for its output cannot be opened: "), "{message}");
}

fn stopping_at(place: &Place, before: bool, script: &str) -> StepPlan {
    let directory = text(place, "debug");
    let breakpoints = Some(Breakpoints { before, on_failure: !before, directory });
    StepPlan { breakpoints, ..place.script(script) }
}

/// Waits until the program is there, and starts it as a person would.
fn decide(place: &Place, program: &str) {
    let program = place.path("debug/scripts").join(program);
    while !Command::new(&program).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        std::thread::yield_now();
    }
}

#[test]
fn a_person_decides_at_a_breakpoint() {
    let decided = Exit::NotStarted { message: "so it was decided at its breakpoint".to_owned() };
    for (before, program, exit, ran) in [
        (true, "debug-beforestep-continue", Exit::Exited { code: 3 }, true),
        (true, "debug-beforestep-fail-continue", decided, false),
        (false, "debug-continue", Exit::Exited { code: 0 }, true),
        (false, "debug-fail-continue", Exit::Exited { code: 3 }, true),
    ] {
        let place = Place::new();
        let talk = place.start(stopping_at(&place, before, "touch $PLACE/ran; exit 3"));
        decide(&place, program);
        let ended = talk.finish();
        assert_eq!(ended.exit(), &exit, "{program}");
        assert_eq!(place.path("ran").exists(), ran, "{program}");
        let named = place.path("debug/scripts").join(program).display().to_string();
        assert!(ended.stderr.contains(&named), "{}", ended.stderr);
    }
}

#[test]
fn a_step_at_a_breakpoint_can_be_ended() {
    let place = Place::new();
    let mut talk = place.start(stopping_at(&place, true, "touch $PLACE/ran"));
    talk.tell(&ToShim::Stop { reason: StopReason::Cancelled, grace_ms: 1 });
    let ended = talk.finish();
    assert_eq!(ended.exit(), &Exit::Cancelled);
    assert!(!place.path("ran").exists());
}

#[test]
fn a_breakpoint_on_failure_does_not_hold_up_a_success() {
    let place = Place::new();
    let ended = place.play(stopping_at(&place, false, "true"));
    assert_eq!((ended.exit(), ended.stderr.as_str()), (&Exit::Exited { code: 0 }, ""));
}

#[test]
fn a_script_is_where_it_is_wanted_or_in_the_steps_own_directory() {
    for (wanted, found) in [("scripts/script-0", "scripts/script-0"), ("file/script-0", "run/script")] {
        let place = Place::new();
        std::fs::write(place.path("file"), "").unwrap();
        let mut step = place.script("echo $0");
        step.script.as_mut().unwrap().path = Some(text(&place, wanted));
        assert_eq!(place.play(step).stdout, format!("{}\n", text(&place, found)));
    }
}

#[test]
fn secrets_are_masked_in_what_a_step_prints_and_refused_in_what_it_leaves() {
    let place = Place::new();
    let listener = place.listen();
    let shim = place
        .shim()
        .env("TOKEN", "hunter2 \"quoted\"")
        .env("PLAIN", "visible")
        .env("PLACE", place.directory.path())
        .spawn()
        .unwrap();
    let mut talk = Talk::greet(&listener, shim, &place);
    let script = "printf 'hun'; printf 'ter2 '; echo '\"quoted\"'; echo \"$PLAIN\"
        printf '%s' \"$TOKEN\" | base64; echo 'hunter2 \\\"quoted\\\"'; echo \"$TOKEN\" >&2
        printf '%s' \"$TOKEN\" > $PLACE/results/url; printf 'hunter'";
    let step = StepPlan { masked: vec!["TOKEN".to_owned(), "ABSENT".to_owned()], ..place.script(script) };
    talk.run(step, &BTreeMap::new());
    let ended = talk.finish();
    assert_eq!(ended.stdout, "***\nvisible\n***\n***\nhunter");
    let record = ended.record.unwrap();
    assert_eq!(record.exit, Exit::Exited { code: 0 });
    assert!(record.results.is_empty());
    assert!(record.results_error.unwrap().starts_with("the result `url` has the value of a secret in it"));
}
