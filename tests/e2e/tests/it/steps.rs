//! How steps end, and what their task makes of it. All of these run at the same time, in one namespace.

use anyhow::{Context as _, Result};
use e2e::{Ran as _, Space, in_space};
use ergon_api::{TaskRun, TaskRunStatus};
use futures::future::try_join_all;

/// A run of these steps, and how it must end.
struct Case {
    name: &'static str,
    /// `spec.taskSpec`, as YAML in flow or block style.
    task: &'static str,
    reason: &'static str,
    /// A part of the condition's message.
    message: &'static str,
    /// Each step's termination reason and exit code.
    steps: &'static [(&'static str, i32)],
    /// A part of what the steps wrote.
    log: &'static str,
}

const SUCCEEDED: &str = "All Steps have completed executing";

const CASES: &[Case] = &[
    Case {
        name: "on-error-continue",
        task: r"
    steps:
    - {name: bad, image: localhost/busybox:1, onError: continue, script: exit 3}
    - {name: after, image: localhost/busybox:1, script: 'echo it was $(cat $(steps.step-bad.exitCode.path))'}
",
        reason: "Succeeded",
        message: SUCCEEDED,
        steps: &[("Continued", 3), ("Completed", 0)],
        log: "it was 3",
    },
    Case {
        name: "exit-code",
        task: r"
    steps:
    - {name: good, image: localhost/busybox:1, script: 'true'}
    - {name: bad, image: localhost/busybox:1, script: exit 7}
    - {name: never, image: localhost/busybox:1, script: echo not reached}
",
        reason: "StepFailed",
        message: "\"step-bad\" exited with code 7",
        steps: &[("Completed", 0), ("Error", 7), ("Skipped", 1)],
        log: "",
    },
    Case {
        name: "first-failing-command",
        task: r"
    steps: [{name: bad, image: localhost/busybox:1, script: 'false; echo not reached'}]
",
        reason: "StepFailed",
        message: "exited with code 1",
        steps: &[("Error", 1)],
        log: "",
    },
    Case {
        name: "timeout",
        task: r"
    steps:
    - {name: slow, image: localhost/busybox:1, timeout: 1s, script: echo begun; sleep 300}
    - {name: never, image: localhost/busybox:1, script: echo not reached}
",
        reason: "StepFailed",
        message: "\"step-slow\" exited because the step exceeded the specified timeout limit of 1s",
        steps: &[("TimeoutExceeded", 1), ("Skipped", 1)],
        log: "begun",
    },
    Case {
        name: "ignores-sigterm",
        task: r"
    steps:
    - name: stubborn
      image: localhost/busybox:1
      timeout: 1s
      script: |
        trap 'echo no' TERM
        while true; do sleep 1; done
",
        reason: "StepFailed",
        message: "timeout limit of 1s",
        steps: &[("TimeoutExceeded", 1)],
        log: "no",
    },
    Case {
        name: "bash",
        task: r#"
    steps:
    - name: bash
      image: localhost/debian:1
      script: |
        #!/usr/bin/env bash
        set -euo pipefail
        words=(one two)
        echo "${#words[@]} words, \$HOME and 'quotes', $0 $1"
      args: [argument]
"#,
        reason: "Succeeded",
        message: SUCCEEDED,
        steps: &[("Completed", 0)],
        log: "2 words, $HOME and 'quotes', ",
    },
    Case {
        name: "no-interpreter",
        task: r"
    steps:
    - name: bash
      image: localhost/busybox:1
      script: |
        #!/bin/bash
        echo not reached
",
        reason: "StepFailed",
        message: "/bin/bash",
        steps: &[("Error", 127)],
        log: "",
    },
    Case {
        name: "no-program",
        task: r"
    steps: [{name: gone, image: localhost/busybox:1, command: [no-such-program]}]
",
        reason: "StepFailed",
        message: "no-such-program",
        steps: &[("Error", 127)],
        log: "",
    },
    Case {
        name: "killed",
        task: r"
    steps: [{name: suicide, image: localhost/busybox:1, script: kill -9 $$}]
",
        reason: "StepFailed",
        message: "(signal 9",
        steps: &[("Error", 137)],
        log: "",
    },
    Case {
        name: "crashed",
        task: r"
    steps: [{name: crash, image: localhost/busybox:1, script: kill -SEGV $$}]
",
        reason: "StepFailed",
        message: "(signal 11",
        steps: &[("Error", 139)],
        log: "",
    },
    Case {
        name: "leaves-a-child",
        task: r"
    steps: [{name: parent, image: localhost/busybox:1, script: sleep 300 & echo done}]
",
        reason: "Succeeded",
        message: SUCCEEDED,
        steps: &[("Completed", 0)],
        log: "done",
    },
    Case {
        name: "environment",
        task: r#"
    stepTemplate: {env: [{name: A, value: template}, {name: B, value: template}]}
    steps:
    - name: show
      image: localhost/busybox:1
      workingDir: /workspace/deep/er
      env: [{name: B, value: step}, {name: C, value: "$(A) in C"}]
      command: [sh, -c, 'pwd; echo "$A $B $C | $@"', sh]
      args: ["$(B)", "$$(B)", "$(UNKNOWN)", "two words"]
"#,
        reason: "Succeeded",
        message: SUCCEEDED,
        steps: &[("Completed", 0)],
        log: "/workspace/deep/er\ntemplate step template in C | step $(B) $(UNKNOWN) two words",
    },
];

#[tokio::test]
async fn steps_end_as_they_should() -> Result<()> {
    in_space("steps", async |space| {
        let failed: Vec<String> = try_join_all(CASES.iter().map(|case| check(space, case))).await?.concat();
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        space.quiet().await
    })
    .await
}

/// What is wrong with one case.
async fn check(space: &Space, case: &Case) -> Result<Vec<String>> {
    let text = format!(
        "apiVersion: ergon.dev/v1\nkind: TaskRun\nmetadata: {{name: {}}}\nspec:\n  taskSpec:{}",
        case.name, case.task
    );
    let run: TaskRun = space.run(&text).await?;
    let log = space.step_logs(&run).await.with_context(|| case.name)?;
    let steps: Vec<(String, i32)> = run.status.iter().flat_map(ends).collect();
    let wanted: Vec<(String, i32)> =
        case.steps.iter().map(|(reason, code)| ((*reason).to_owned(), *code)).collect();
    let checks = [
        (run.reason() == case.reason, format!("reason {}: {}", run.reason(), run.message())),
        (run.message().contains(case.message), format!("message: {}", run.message())),
        (steps == wanted, format!("steps: {steps:?}, not {wanted:?}")),
        (log.contains(case.log) && !log.contains("not reached"), format!("log: {log}")),
    ];
    Ok(checks
        .into_iter()
        .filter(|(good, _)| !good)
        .map(|(_, what)| format!("{}: {what}", case.name))
        .collect())
}

fn ends(status: &TaskRunStatus) -> impl Iterator<Item = (String, i32)> {
    status.steps.iter().map(|step| {
        let code = step.terminated.as_ref().map_or(-1, |ended| ended.exit_code);
        (step.termination_reason.clone().unwrap_or_default(), code)
    })
}
