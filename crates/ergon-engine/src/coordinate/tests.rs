use std::collections::BTreeMap;
use std::fmt::Write;

use ergon_wire::PLAN_VERSION;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;

fn plan(tasks: &[&[OnError]]) -> PodPlan {
    let step = |task: usize, at: usize, on_error: OnError| StepPlan {
        container: format!("step-{task}-{at}"),
        argv: vec!["true".to_owned()],
        on_error,
        grace_ms: 1000,
        ..Default::default()
    };
    let tasks = tasks.iter().enumerate().map(|(task, steps)| TaskPlan {
        name: format!("task-{task}"),
        steps: steps.iter().enumerate().map(|(at, on_error)| step(task, at, *on_error)).collect(),
        results: vec!["digest".to_owned()],
        ..Default::default()
    });
    PodPlan { version: PLAN_VERSION, tasks: tasks.collect(), ..Default::default() }
}

const fn id(step: usize) -> StepId {
    StepId { task: 0, step }
}

fn exited(code: i32) -> Exit {
    Exit::Exited { code }
}

/// A task of two steps with this many sidecars: what comes at the places from 2.
fn beside(sidecars: usize) -> PodPlan {
    let mut plan = plan(&[&[STOP, STOP]]);
    let sidecar = |at: usize| StepPlan {
        container: format!("step-0-{}", at + 2),
        is_sidecar: true,
        grace_ms: 500,
        ..Default::default()
    };
    plan.tasks[0].sidecars = (0..sidecars).map(sidecar).collect();
    plan
}

/// Plays lines such as `connect 0`, `start 0`, `end 0 3` (an exit code or another end), `lost 0`, `gone 0`, `stop`, and shows
/// what each of them leads to; at the end the states.
fn check(on_errors: &[OnError], events: &str, expected: &Expect) {
    check_plan(&plan(&[on_errors]), events, expected);
}

fn check_plan(plan: &PodPlan, events: &str, expected: &Expect) {
    let mut state = PodState::new(plan).unwrap();
    let mut log = String::new();
    for (at, line) in events.lines().map(str::trim).filter(|line| !line.is_empty()).enumerate() {
        let at = i64::try_from(at).unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let step = || id(words[1].parse().unwrap());
        let event = match words[0] {
            "connect" => Event::Connected { id: step() },
            "start" => Event::Started { id: step(), at },
            "lost" => Event::Lost { id: step(), at },
            "gone" => Event::Gone { id: step(), at },
            "stop" => Event::Stop { reason: StopReason::Cancelled, at },
            "end" => {
                let exit = match words[2] {
                    "timeout" => Exit::TimedOut,
                    "cancelled" => Exit::Cancelled,
                    "skipped" => Exit::Skipped,
                    "oom" => Exit::Signaled { signal: 9 },
                    "missing" => Exit::NotStarted { message: "no bash".to_owned() },
                    "results" => exited(0),
                    code => exited(code.parse().unwrap()),
                };
                let results_error = (words[2] == "results").then(|| "too large".to_owned());
                Event::Ended { id: step(), record: ExitRecord { results_error, ..record(exit, at) } }
            }
            other => panic!("no such event: {other}"),
        };
        writeln!(log, "{line:<12} -> {}", show(&state.handle(event))).unwrap();
    }
    let report = state.report();
    for step in &report.steps {
        let shown = match &step.state {
            StepState::Waiting => "waiting".to_owned(),
            StepState::Running { started_at } => format!("running since {started_at}"),
            StepState::Ended { record } => format!("{:?} at {}", record.exit, record.finished_at),
        };
        writeln!(log, "{}: {shown}", step.container).unwrap();
    }
    let failed = if state.has_failed() { ", failed" } else { "" };
    writeln!(
        log,
        "sequence {}, done {}, finished {}{failed}",
        report.sequence,
        report.done,
        state.is_finished()
    )
    .unwrap();
    expected.assert_eq(&log);
}

fn show(commands: &[Command]) -> String {
    let words = commands.iter().map(|command| match command {
        Command::Run { id, command } => {
            assert_eq!(command.step.container, format!("step-{}-{}", id.task, id.step));
            assert_eq!(command.results.is_empty(), command.step.is_sidecar);
            format!("run {}", id.step)
        }
        Command::Skip { id, exit: Exit::Skipped } => format!("skip {}", id.step),
        Command::Skip { id, exit } => format!("skip {}: {exit:?}", id.step),
        Command::Stop { id, grace_ms, .. } => format!("stop {} ({grace_ms} ms)", id.step),
        Command::Refuse { id } => format!("refuse {}", id.step),
        Command::Report => "report".to_owned(),
        Command::Finished => "finished".to_owned(),
    });
    words.collect::<Vec<_>>().join(", ")
}

const STOP: OnError = OnError::StopAndFail;
const CONTINUE: OnError = OnError::Continue;

#[test]
fn steps_run_in_order_however_they_connect() {
    check(
        &[STOP, STOP],
        "connect 1
         connect 0
         start 0
         end 0 0
         start 1
         end 1 0",
        &expect![[r"
            connect 1    -> 
            connect 0    -> run 0
            start 0      -> report
            end 0 0      -> run 1, report
            start 1      -> report
            end 1 0      -> report, finished
            step-0-0: Exited { code: 0 } at 3
            step-0-1: Exited { code: 0 } at 5
            sequence 4, done true, finished true
        "]],
    );
}

#[test]
fn the_first_step_waits_until_each_sidecar_has_started_and_the_last_ends_them() {
    check_plan(
        &beside(2),
        "connect 0
         connect 2
         start 2
         connect 1
         connect 3
         start 3
         start 0
         end 0 0
         start 1
         end 1 0
         end 3 0
         end 2 0",
        &expect![[r"
            connect 0    -> 
            connect 2    -> run 2
            start 2      -> 
            connect 1    -> 
            connect 3    -> run 3
            start 3      -> run 0
            start 0      -> report
            end 0 0      -> run 1, report
            start 1      -> report
            end 1 0      -> stop 2 (500 ms), stop 3 (500 ms), report
            end 3 0      -> 
            end 2 0      -> finished
            step-0-0: Exited { code: 0 } at 7
            step-0-1: Exited { code: 0 } at 9
            sequence 4, done true, finished true
        "]],
    );
}

#[test]
fn a_sidecar_may_end_early_however_it_does() {
    check_plan(
        &beside(3),
        "connect 0
         connect 2
         connect 3
         connect 4
         start 2
         end 2 1
         end 3 missing
         lost 4
         start 0
         end 0 0
         connect 1
         end 1 0",
        &expect![[r"
            connect 0    -> 
            connect 2    -> run 2
            connect 3    -> run 3
            connect 4    -> run 4
            start 2      -> 
            end 2 1      -> 
            end 3 missing -> 
            lost 4       -> run 0
            start 0      -> report
            end 0 0      -> report
            connect 1    -> run 1
            end 1 0      -> report, finished
            step-0-0: Exited { code: 0 } at 9
            step-0-1: Exited { code: 0 } at 11
            sequence 3, done true, finished true
        "]],
    );
}

#[test]
fn a_task_that_fails_ends_its_sidecars_too() {
    check_plan(
        &beside(2),
        "connect 2
         start 2
         connect 3
         start 3
         connect 0
         connect 1
         start 0
         end 0 1
         end 1 skipped
         end 2 0
         end 3 0",
        &expect![[r"
            connect 2    -> run 2
            start 2      -> 
            connect 3    -> run 3
            start 3      -> 
            connect 0    -> run 0
            connect 1    -> 
            start 0      -> report
            end 0 1      -> skip 1, stop 2 (500 ms), stop 3 (500 ms), report
            end 1 skipped -> 
            end 2 0      -> 
            end 3 0      -> finished
            step-0-0: Exited { code: 1 } at 7
            step-0-1: Skipped at 7
            sequence 2, done true, finished true, failed
        "]],
    );
}

#[test]
fn a_stop_ends_sidecars_after_the_steps() {
    check_plan(
        &beside(2),
        "connect 2
         start 2
         connect 3
         start 3
         connect 0
         connect 1
         start 0
         stop
         end 1 skipped
         end 0 cancelled
         end 2 0
         end 3 oom",
        &expect![[r"
            connect 2    -> run 2
            start 2      -> 
            connect 3    -> run 3
            start 3      -> 
            connect 0    -> run 0
            connect 1    -> 
            start 0      -> report
            stop         -> stop 0 (1000 ms), skip 1, report
            end 1 skipped -> 
            end 0 cancelled -> stop 2 (500 ms), stop 3 (500 ms), report
            end 2 0      -> 
            end 3 oom    -> finished
            step-0-0: Cancelled at 9
            step-0-1: Skipped at 7
            sequence 3, done true, finished true, failed
        "]],
    );
}

#[test]
fn a_sidecar_that_comes_too_late_never_runs() {
    check_plan(
        &beside(2),
        "connect 0
         connect 1
         connect 2
         start 2
         stop
         end 0 skipped
         end 1 skipped
         connect 3
         end 3 skipped
         end 2 0",
        &expect![[r"
            connect 0    -> 
            connect 1    -> 
            connect 2    -> run 2
            start 2      -> 
            stop         -> skip 0, skip 1, stop 2 (500 ms), report
            end 0 skipped -> 
            end 1 skipped -> 
            connect 3    -> skip 3
            end 3 skipped -> 
            end 2 0      -> finished
            step-0-0: Skipped at 4
            step-0-1: Skipped at 4
            sequence 1, done true, finished true, failed
        "]],
    );
}

#[test]
fn a_stop_after_the_last_step_fails_nothing() {
    check_plan(
        &beside(1),
        "connect 2
         start 2
         connect 0
         connect 1
         end 0 0
         end 1 0
         stop
         end 2 0",
        &expect![[r"
            connect 2    -> run 2
            start 2      -> 
            connect 0    -> run 0
            connect 1    -> 
            end 0 0      -> run 1, report
            end 1 0      -> stop 2 (500 ms), report
            stop         -> 
            end 2 0      -> finished
            step-0-0: Exited { code: 0 } at 4
            step-0-1: Exited { code: 0 } at 5
            sequence 2, done true, finished true
        "]],
    );
}

#[test]
fn a_step_that_connects_late_runs_then() {
    check(
        &[STOP, STOP],
        "connect 0
         start 0
         end 0 0
         connect 1
         start 1",
        &expect![[r"
            connect 0    -> run 0
            start 0      -> report
            end 0 0      -> report
            connect 1    -> run 1
            start 1      -> report
            step-0-0: Exited { code: 0 } at 2
            step-0-1: running since 4
            sequence 3, done false, finished false
        "]],
    );
}

#[test]
fn after_a_failure_the_rest_is_skipped_and_late_shims_are_told() {
    check(
        &[STOP, STOP, STOP],
        "connect 0
         connect 1
         start 0
         end 0 3
         end 1 skipped
         connect 2
         end 2 skipped",
        &expect![[r"
            connect 0    -> run 0
            connect 1    -> 
            start 0      -> report
            end 0 3      -> skip 1, report
            end 1 skipped -> 
            connect 2    -> skip 2
            end 2 skipped -> finished
            step-0-0: Exited { code: 3 } at 3
            step-0-1: Skipped at 3
            step-0-2: Skipped at 3
            sequence 2, done true, finished true, failed
        "]],
    );
}

#[test]
fn continue_forgives_an_exit_code_and_nothing_else() {
    let next_runs = |end: &str| {
        let mut state = PodState::new(&plan(&[&[CONTINUE, STOP]])).unwrap();
        state.handle(Event::Connected { id: id(0) });
        state.handle(Event::Connected { id: id(1) });
        let (exit, results_error) = match end {
            "timeout" => (Exit::TimedOut, None),
            "signal" => (Exit::Signaled { signal: 9 }, None),
            "missing" => (Exit::NotStarted { message: String::new() }, None),
            "interrupted" => (Exit::Interrupted { message: String::new() }, None),
            "results" => (exited(0), Some("too large".to_owned())),
            code => (exited(code.parse().unwrap()), None),
        };
        let commands =
            state.handle(Event::Ended { id: id(0), record: ExitRecord { results_error, ..record(exit, 1) } });
        matches!(commands.first(), Some(Command::Run { .. }))
    };
    for (end, expected) in [
        ("0", true),
        ("7", true),
        ("timeout", false),
        ("signal", false),
        ("missing", false),
        ("interrupted", false),
        ("results", false),
    ] {
        assert_eq!(next_runs(end), expected, "{end}");
    }
}

#[test]
fn a_second_connection_is_refused_even_after_the_first_broke() {
    check(
        &[STOP, STOP],
        "connect 0
         connect 0
         start 0
         lost 0
         connect 0
         connect 5
         connect 1
         lost 1",
        &expect![[r#"
            connect 0    -> run 0
            connect 0    -> refuse 0
            start 0      -> report
            lost 0       -> report
            connect 0    -> refuse 0
            connect 5    -> refuse 5
            connect 1    -> skip 1
            lost 1       -> finished
            step-0-0: Interrupted { message: "its container ended before the end of its command was reported" } at 3
            step-0-1: Skipped at 3
            sequence 2, done true, finished true, failed
        "#]],
    );
}

#[test]
fn a_shim_that_dies_before_its_turn_fails_the_task_but_not_what_runs() {
    check(
        &[STOP, STOP, STOP],
        "connect 0
         start 0
         connect 2
         lost 2
         connect 1
         end 0 0
         end 1 skipped",
        &expect![[r#"
            connect 0    -> run 0
            start 0      -> report
            connect 2    -> 
            lost 2       -> report
            connect 1    -> skip 1
            end 0 0      -> report
            end 1 skipped -> finished
            step-0-0: Exited { code: 0 } at 5
            step-0-1: Skipped at 3
            step-0-2: Interrupted { message: "its container ended before its turn came" } at 3
            sequence 3, done true, finished true, failed
        "#]],
    );
}

#[test]
fn a_container_that_ends_without_its_shim_ends_its_step_and_one_whose_shim_came_is_heard_out() {
    check(
        &[STOP, STOP, STOP],
        "connect 0
         gone 1
         gone 0
         start 0
         end 0 0
         connect 1
         gone 2",
        &expect![[r#"
            connect 0    -> run 0
            gone 1       -> report
            gone 0       -> 
            start 0      -> report
            end 0 0      -> report
            connect 1    -> refuse 1
            gone 2       -> finished
            step-0-0: Exited { code: 0 } at 4
            step-0-1: Interrupted { message: "its container ended before its turn came" } at 1
            step-0-2: Skipped at 1
            sequence 3, done true, finished true, failed
        "#]],
    );
}

#[test]
fn a_success_that_nobody_asked_for_is_none() {
    check(
        &[STOP, STOP],
        "connect 1
         end 1 0
         start 1",
        &expect![[r#"
            connect 1    -> 
            end 1 0      -> report
            start 1      -> 
            step-0-0: Skipped at 1
            step-0-1: Interrupted { message: "its shim ended before it was told to run" } at 1
            sequence 1, done true, finished false, failed
        "#]],
    );
}

#[test]
fn stop_ends_what_runs_and_starts_nothing() {
    check(
        &[STOP, STOP, STOP],
        "connect 0
         connect 1
         stop
         stop
         end 0 cancelled
         end 1 skipped
         connect 2
         end 2 skipped",
        &expect![[r"
            connect 0    -> run 0
            connect 1    -> 
            stop         -> stop 0 (1000 ms), skip 1, report
            stop         -> 
            end 0 cancelled -> report
            end 1 skipped -> 
            connect 2    -> skip 2
            end 2 skipped -> finished
            step-0-0: Cancelled at 4
            step-0-1: Skipped at 2
            step-0-2: Skipped at 2
            sequence 2, done true, finished true, failed
        "]],
    );
}

#[test]
fn tasks_of_one_pod_do_not_wait_for_each_other_and_nothing_is_finished_at_once() {
    let mut state = PodState::new(&plan(&[&[STOP, STOP], &[STOP]])).unwrap();
    let other = StepId { task: 1, step: 0 };
    assert_eq!(show(&state.handle(Event::Connected { id: other })), "run 0");
    assert_eq!(show(&state.handle(Event::Connected { id: id(0) })), "run 0");
    let failed = Event::Ended { id: id(0), record: record(exited(1), 1) };
    assert_eq!(show(&state.handle(failed)), "report");
    assert!(!state.report().done);
    let ended = Event::Ended { id: other, record: record(exited(0), 2) };
    assert_eq!(show(&state.handle(ended)), "report");
    assert!(state.report().done && !state.is_finished(), "one shim must still be told");

    assert!(PodState::new(&plan(&[])).unwrap().is_finished());
}

/// A task of two steps, the second as given; the first one has ended with a text, a list, a map and artifacts.
fn second(step: StepPlan) -> Vec<Command> {
    let mut plan = plan(&[&[STOP, STOP]]);
    plan.tasks[0].steps[0].container = "step-one".to_owned();
    plan.tasks[0].steps[1] = StepPlan { container: "step-0-1".to_owned(), ..step };
    let mut state = PodState::new(&plan).unwrap();
    state.handle(Event::Connected { id: id(0) });
    state.handle(Event::Connected { id: id(1) });
    let result = |name: &str, value: &str| ergon_wire::StepResult { name: name.into(), value: value.into() };
    let step_results = vec![
        result("text", "a $(steps.one.results.text)"),
        result("list", r#"["x", "y z"]"#),
        result("map", r#"{"k": "v"}"#),
    ];
    let step_artifacts = Some(
        r#"{"outputs": [{"name": "image", "values": [{"uri": "u", "digest": {"d": "1"}}]}]}"#.to_owned(),
    );
    let record = ExitRecord { step_results, step_artifacts, ..record(exited(0), 1) };
    state.handle(Event::Ended { id: id(0), record })
}

#[test]
fn a_step_gets_what_earlier_ones_left() {
    let references = [
        "steps.one.results.text",
        "steps.one.results.list[*]",
        "steps.one.results.list[1]",
        "steps.one.results.list[2]",
        "steps.one.results.map.k",
        "steps.one.results.map.none",
        "steps.one.results.none",
        "steps.one.outputs.image",
        "steps.none.results.text",
    ];
    let script = "echo $(steps.one.outputs.image) $(steps.one.results.text) $(steps.one.inputs.none)";
    let step = StepPlan {
        references: references.map(str::to_owned).to_vec(),
        script: Some(ergon_wire::Script { text: script.to_owned(), path: None, ..Default::default() }),
        ..Default::default()
    };
    let commands = second(step);
    let Command::Run { command, .. } = &commands[0] else { panic!("{commands:?}") };
    let values: Vec<String> = command.values.iter().map(|(name, value)| format!("{name}={value}")).collect();
    assert_eq!(
        values,
        [
            r#"steps.one.outputs.image=[{"digest":{"d":"1"},"uri":"u"}]"#,
            r#"steps.one.results.list[*]=["x","y z"]"#,
            "steps.one.results.list[1]=y z",
            "steps.one.results.map.k=v",
            "steps.one.results.text=a $(steps.one.results.text)",
        ]
    );
    // Results never come into a script: they would become code.
    assert_eq!(
        command.step.script.as_ref().unwrap().text,
        r#"echo [{"digest":{"d":"1"},"uri":"u"}] $(steps.one.results.text) $(steps.one.inputs.none)"#
    );
}

#[test]
fn a_step_runs_if_its_conditions_hold() {
    let is = |input: &str, values: &[&str]| ergon_wire::Condition::In {
        input: input.to_owned(),
        values: values.iter().map(|&value| value.to_owned()).collect(),
    };
    let not = |input: &str, values: &[&str]| ergon_wire::Condition::NotIn {
        input: input.to_owned(),
        values: values.iter().map(|&value| value.to_owned()).collect(),
    };
    for (when, runs) in [
        (vec![], true),
        (vec![is("$(steps.one.results.map.k)", &["v"])], true),
        (vec![is("y z", &["$(steps.one.results.list[*])"])], true),
        (vec![not("y z", &["$(steps.one.results.list[*])"])], false),
        (vec![is("a", &["a"]), is("a", &["b"])], false),
        (vec![is("$(steps.one.results.none)", &["$(steps.one.results.none)"])], true),
    ] {
        let commands = second(StepPlan { when: when.clone(), ..Default::default() });
        let ran = matches!(&commands[0], Command::Run { .. });
        let skipped = commands[0] == Command::Skip { id: id(1), exit: Exit::WhenFalse };
        assert_eq!((ran, skipped), (runs, !runs), "{when:?}");
    }
}

#[test]
fn after_a_step_whose_condition_does_not_hold_the_next_one_runs() {
    let mut plan = plan(&[&[STOP, STOP]]);
    let never = ergon_wire::Condition::In { input: "a".to_owned(), values: Vec::new() };
    plan.tasks[0].steps[0].when = vec![never];
    let mut state = PodState::new(&plan).unwrap();
    state.handle(Event::Connected { id: id(1) });
    assert_eq!(show(&state.handle(Event::Connected { id: id(0) })), "skip 0: WhenFalse");
    // Whatever its shim makes of it.
    let ended = Event::Ended { id: id(0), record: record(exited(0), 1) };
    assert_eq!(show(&state.handle(ended)), "run 1, report");
    // And no shim decides by itself that a condition did not hold.
    state.handle(Event::Ended { id: id(1), record: record(Exit::WhenFalse, 2) });
    let report = state.report();
    let exit = |step: usize| match &report.steps[step].state {
        StepState::Ended { record } => record.exit.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(exit(0), Exit::WhenFalse);
    assert!(matches!(exit(1), Exit::Interrupted { .. }));
}

/// One shim as the world has it: what it does next is up to the interleaving.
#[derive(Clone, Copy, PartialEq)]
enum Shim {
    Absent,
    Idle,
    Told,
    Running,
    Skipped,
    Gone,
}

proptest! {
    /// Any order of connecting, starting, ending, dying and one stop: no step runs before the one ahead of it ended
    /// well, none after a failed one or a stop, and once all shims have had their say, the pod is finished.
    #[test]
    fn any_interleaving_is_safe_and_ends(
        on_errors in prop::collection::vec(any::<bool>(), 1..6),
        choices in prop::collection::vec((any::<u16>(), 0..10u8), 0..80),
        stop_at in prop::option::of(0..80usize),
    ) {
        let on_errors: Vec<OnError> =
            on_errors.iter().map(|go_on| if *go_on { CONTINUE } else { STOP }).collect();
        let mut state = PodState::new(&plan(&[&on_errors])).unwrap();
        let mut shims = vec![Shim::Absent; on_errors.len()];
        let mut ends: BTreeMap<usize, ExitRecord> = BTreeMap::new();
        let mut stopped = false;
        let mut finished = 0;
        let mut sequence = 0;
        // The choices first; then each shim is taken through what is left for it.
        let rest = (0..8 * on_errors.len()).map(|at| (u16::try_from(at).unwrap(), 0));
        for (turn, (pick, fate)) in choices.into_iter().chain(rest).enumerate() {
            let at = i64::try_from(turn).unwrap();
            let step = usize::from(pick) % shims.len();
            let event = if stop_at == Some(turn) {
                stopped = true;
                Event::Stop { reason: StopReason::Cancelled, at }
            } else {
                let end = |exit: Exit| Event::Ended { id: id(step), record: record(exit, at) };
                let (next, event) = match (shims[step], fate) {
                    (Shim::Gone, _) => continue,
                    (Shim::Absent, _) => (Shim::Idle, Event::Connected { id: id(step) }),
                    (_, 9) => (Shim::Gone, Event::Lost { id: id(step), at }),
                    (Shim::Idle, _) => continue,
                    (Shim::Told, 8) => (Shim::Gone, end(Exit::NotStarted { message: String::new() })),
                    (Shim::Told, _) => (Shim::Running, Event::Started { id: id(step), at }),
                    (Shim::Running, 8) => (Shim::Gone, end(Exit::TimedOut)),
                    (Shim::Running, code) => (Shim::Gone, end(exited(i32::from(code) % 2))),
                    (Shim::Skipped, _) => (Shim::Gone, end(Exit::Skipped)),
                };
                shims[step] = next;
                if let Event::Ended { record, .. } = &event {
                    ends.insert(step, record.clone());
                } else if let Event::Lost { .. } = &event {
                    ends.insert(step, record(Exit::Interrupted { message: String::new() }, at));
                }
                event
            };
            for command in state.handle(event) {
                match command {
                    Command::Run { id: StepId { step, .. }, .. } => {
                        prop_assert!(!stopped, "step {step} runs after the stop");
                        prop_assert!(shims[step] == Shim::Idle);
                        shims[step] = Shim::Told;
                        for (before, on_error) in on_errors.iter().enumerate().take(step) {
                            let record = ends.get(&before);
                            let well = record.is_some_and(|record| match record.exit {
                                Exit::Exited { code } => code == 0 || *on_error == CONTINUE,
                                _ => false,
                            });
                            prop_assert!(well, "step {step} runs, but {before} ended as {record:?}");
                        }
                    }
                    Command::Skip { id: StepId { step, .. }, .. } => {
                        prop_assert!(shims[step] == Shim::Idle);
                        shims[step] = Shim::Skipped;
                    }
                    Command::Stop { id: StepId { step, .. }, .. } => {
                        prop_assert!(matches!(shims[step], Shim::Told | Shim::Running));
                    }
                    Command::Refuse { .. } => prop_assert!(false, "nobody connected twice"),
                    Command::Report => {
                        let report = state.report();
                        prop_assert!(report.sequence > sequence);
                        sequence = report.sequence;
                    }
                    Command::Finished => finished += 1,
                }
            }
        }
        prop_assert!(state.is_finished() && finished == 1);
        let report = state.report();
        prop_assert!(report.done);
        prop_assert_eq!(report.sequence, sequence);
        for (step, shown) in report.steps.iter().enumerate() {
            let StepState::Ended { record } = &shown.state else { panic!("{shown:?}") };
            if record.exit.is_success() {
                prop_assert!(ends.get(&step).is_some_and(|record| record.exit.is_success()));
            }
        }
    }
}
