//! The program's output and exit codes, where no cluster and no container is needed.

use std::process::{Command, Output};

/// Runs the program with nothing of this machine's settings.
fn ergon(args: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_ergon"))
        .args(args)
        .env_clear()
        .env("HOME", home.path())
        .current_dir(home.path())
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn exit_codes_tell_what_went_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = folder.path().join("wrong.yaml");
    std::fs::write(&wrong, "apiVersion: ergon.dev/v1\nkind: Task\nmetadata: {name: a}\nspec: {stepz: []}\n")
        .unwrap();
    let wrong = wrong.to_str().unwrap();
    let kubeconfig = folder.path().join("kubeconfig");
    // Port 1 is never listened on.
    std::fs::write(
        &kubeconfig,
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: c, cluster: {server: \"http://127.0.0.1:1\"}}]\n\
         contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: [{name: u, user: {}}]\n",
    )
    .unwrap();
    let kubeconfig = kubeconfig.to_str().unwrap();
    let table: &[(&[&str], i32, &str)] = &[
        (&["version"], 0, ""),
        (&["--help"], 0, ""),
        (&["completion", "bash"], 0, ""),
        (&["nonsense"], 2, "unrecognized subcommand"),
        (&["logs"], 2, "required"),
        (&["list", "pods"], 2, "`pods` cannot be listed"),
        (&["describe", "pod/a", "--kubeconfig", kubeconfig], 2, "`pod/a` names nothing"),
        (&["list"], 3, "no cluster is configured"),
        (&["list", "--kubeconfig", kubeconfig], 3, "cannot reach the cluster"),
        (&["list", "--kubeconfig", "/nowhere/config"], 3, "no cluster is configured"),
        (&["run", wrong], 4, "unknown field `stepz`"),
        (&["run", "/nowhere/a.yaml"], 4, "cannot read"),
        (&["start", "-f", wrong], 4, "unknown field `stepz`"),
    ];
    for (args, code, message) in table {
        let output = ergon(args);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {stderr}");
        assert!(stderr.contains(message), "{args:?}: {stderr}");
    }
}

#[test]
fn failures_say_what_to_do_without_colours_in_a_pipe() {
    let stderr = text(&ergon(&["list"]).stderr);
    assert!(stderr.starts_with("error: no cluster is configured"), "{stderr}");
    assert!(stderr.contains("\n\nhint: name a kubeconfig"), "{stderr}");
    assert!(!stderr.contains('\u{1b}'), "{stderr}");
}

#[test]
fn a_dry_run_prints_the_plan() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("task.yaml");
    std::fs::write(
        &file,
        "apiVersion: ergon.dev/v1\nkind: Task\nmetadata: {name: hello}\nspec:\n  params: [{name: names, type: array}]\n  \
         steps: [{name: say, image: busybox, command: [echo]}]\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let output = ergon(&["run", file, "-p", "names=a,b", "-w", "source=emptyDir", "--dry-run"]);
    assert_eq!(
        text(&output.stdout),
        "would run Task `hello`\n  param      names   [\"a\",\"b\"]\n  workspace  source  emptyDir\n",
        "{}",
        text(&output.stderr)
    );
    let output = ergon(&["run", file, "--dry-run"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("no value for `names`"));
}

#[test]
fn parameters_are_checked_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.yaml");
    std::fs::write(
        &file,
        "apiVersion: ergon.dev/v1\nkind: TaskRun\nmetadata: {name: r}\nspec:\n  params: [{name: names, value: [a]}]\n  \
         taskSpec:\n    params: [{name: names, type: array}]\n    steps: [{name: say, image: busybox, command: [echo]}]\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let output = ergon(&["run", file, "-p", "name=b", "--dry-run"]);
    assert_eq!(output.status.code(), Some(4));
    let stderr = text(&output.stderr);
    assert!(stderr.contains("there is no parameter `name`; declared are `names`"), "{stderr}");
    let output = ergon(&["run", file, "-p", "names=b,c", "--dry-run"]);
    assert!(text(&output.stdout).contains("[\"b\",\"c\"]"), "{}", text(&output.stderr));
    let output = ergon(&["run", file, "--task", "other", "--dry-run"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output.stderr).contains("(there are: TaskRun `r`)"), "{}", text(&output.stderr));
}

/// Programs for tests are built as the machine builds them, and that is mostly not static.
#[cfg(not(target_feature = "crt-static"))]
#[test]
fn a_program_that_cannot_be_an_entrypoint_says_so_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("ergon");
    std::fs::copy(env!("CARGO_BIN_EXE_ergon"), &program).unwrap();
    let file = folder.path().join("task.yaml");
    std::fs::write(
        &file,
        "apiVersion: ergon.dev/v1\nkind: Task\nmetadata: {name: t}\nspec: {steps: [{image: a, command: [a]}]}\n",
    )
    .unwrap();
    let home = folder.path().join("home");
    let output =
        Command::new(&program).arg("run").arg(&file).env_clear().env("ERGON_HOME", &home).output().unwrap();
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    let expected =
        "error: this `ergon` is dynamically linked, and cannot be the entrypoint of steps in other images";
    assert!(stderr.starts_with(expected), "{stderr}");
    assert!(stderr.contains("hint: build it with `make build`"), "{stderr}");
    assert!(!home.exists(), "nothing was made");
}

#[test]
fn manifests_can_be_printed_without_a_cluster() {
    let output = ergon(&["install", "--print", "--group", "ergon.dev", "--image", "example.com/ergon:1"]);
    let stdout = text(&output.stdout);
    assert!(output.status.success());
    assert!(stdout.starts_with("---\n"));
    assert!(stdout.contains("kind: Deployment") && stdout.contains("example.com/ergon:1"));
    assert!(!stdout.contains("tekton.dev/v1"), "only the group that was asked for");
    ergon_api::parse(&stdout, "printed").unwrap();
}

#[test]
fn every_command_has_examples() {
    let command = ergon_cli::command();
    let without: Vec<&str> = command
        .get_subcommands()
        .filter(|command| command.get_after_long_help().is_none())
        .map(clap::Command::get_name)
        .collect();
    assert!(without.is_empty(), "{without:?}");
}
