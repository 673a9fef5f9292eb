//! The commands for those who write manifests, and completion.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output};

const TEKTON: &str = "# Greets.
apiVersion: tekton.dev/v1
kind: Task
metadata: {name: hello}
spec:
    params:
    - description: who
      name: who
    steps:
    -   name: say
        image: localhost/busybox:1
        script: |
            echo \"Hello, $(params.who)\"
";

fn ergon(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ergon"));
    command.args(args).env_clear().env("HOME", folder).current_dir(folder).output().unwrap()
}

fn check(folder: &Path, args: &[&str], code: i32) -> (String, String) {
    let output = ergon(folder, args);
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    assert_eq!(output.status.code(), Some(code), "{args:?}: {out}{err}");
    (out, err)
}

fn read(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

#[test]
fn convert_writes_to_stdout_in_place_or_elsewhere() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir_all(folder.join("tasks/deep")).unwrap();
    std::fs::write(folder.join("tasks/deep/task.yaml"), TEKTON).unwrap();
    let wanted = TEKTON.replace("tekton.dev", "ergon.dev").replace("$(params.who)", "{{params.who}}");

    assert_eq!(check(folder, &["convert", "tasks/deep/task.yaml"], 0).0, wanted);
    let (diff, _) = check(folder, &["convert", "--diff", "tasks"], 0);
    assert!(diff.contains("-apiVersion: tekton.dev/v1\n+apiVersion: ergon.dev/v1\n"), "{diff}");
    check(folder, &["convert", "-o", "out", "tasks"], 0);
    assert_eq!(read(folder, "out/deep/task.yaml"), wanted);
    assert_eq!(read(folder, "tasks/deep/task.yaml"), TEKTON);
    check(folder, &["convert", "-i", "tasks"], 0);
    assert_eq!(read(folder, "tasks/deep/task.yaml"), wanted);
    let (back, note) = check(folder, &["convert", "--to", "tekton", "tasks"], 0);
    assert_eq!(back, TEKTON);
    assert!(note.starts_with("note: tasks/deep/task.yaml:13:"), "{note}");

    let block = wanted.replace("{{params.who}}", "{{upper params.who}}").replace("upper", "lower");
    std::fs::write(folder.join("block.yaml"), &block).unwrap();
    let (_, lost) = check(folder, &["convert", "--to", "tekton", "-i", "block.yaml"], 1);
    assert!(lost.starts_with("no equivalent: block.yaml:13:"), "{lost}");
    assert_eq!(read(folder, "block.yaml"), block);
    std::fs::write(folder.join("wrong.yaml"), TEKTON.replace("image", "imgae")).unwrap();
    assert!(check(folder, &["convert", "wrong.yaml"], 4).1.contains("unknown field `imgae`"));
}

#[test]
fn fmt_lays_out_or_says_what_it_would() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("task.yaml"), TEKTON).unwrap();
    assert_eq!(check(folder, &["fmt", "--check"], 1).0, "task.yaml\n");
    assert!(check(folder, &["fmt", "--diff"], 1).0.contains("+    - name: who\n"));
    assert_eq!(read(folder, "task.yaml"), TEKTON);
    check(folder, &["fmt"], 0);
    assert!(
        read(folder, "task.yaml").contains("  params:\n    - name: who\n      description: who\n  steps:\n")
    );
    check(folder, &["fmt", "--check"], 0);
    std::fs::write(folder.join("wrong.yaml"), "kind: Task\napiVersion: ergon.dev/v1\nspec: [\n").unwrap();
    assert!(check(folder, &["fmt", "wrong.yaml"], 4).1.contains("wrong.yaml:"));
}

#[test]
fn new_makes_what_passes_its_test_and_is_drawn() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    assert_eq!(
        check(folder, &["new", "pipeline", "release"], 0).0,
        "release/pipeline.yaml\nrelease/tests/release.yaml\n"
    );
    check(folder, &["new", "task", "build", "--dir", "tasks/build"], 0);
    check(folder, &["test", "."], 0);
    check(folder, &["lint", "."], 0);
    check(folder, &["fmt", "--check"], 0);
    assert!(check(folder, &["new", "pipeline", "release"], 4).1.contains("is there already"));
    check(folder, &["new", "task", "Build"], 2);

    let (drawn, _) = check(folder, &["graph", "release/pipeline.yaml"], 0);
    assert_eq!(drawn, "build─▶ publish\n\nfinally: report\n");
    check(folder, &["graph", "release/pipeline.yaml", "-o", "graph.svg"], 0);
    assert!(read(folder, "graph.svg").starts_with("<svg "));
    assert!(
        check(folder, &["graph", "release/pipeline.yaml", "-f", "mermaid"], 0)
            .0
            .starts_with("flowchart LR\n")
    );
    assert!(check(folder, &["graph", "tasks/build/task.yaml"], 4).1.contains("there is no Pipeline"));
}

/// An API server that has one run, and nothing else.
fn serve(listener: &TcpListener) {
    loop {
        let Ok((mut stream, _)) = listener.accept() else { return };
        let mut request = Vec::new();
        let mut byte = [0];
        while !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
            request.push(byte[0]);
        }
        let request = String::from_utf8_lossy(&request).into_owned();
        let path = request.split_whitespace().nth(1).unwrap_or_default();
        let body = if path == "/apis" {
            r#"{"kind":"APIGroupList","apiVersion":"v1","groups":[{"name":"ergon.dev","versions":[
                {"groupVersion":"ergon.dev/v1","version":"v1"}],
                "preferredVersion":{"groupVersion":"ergon.dev/v1","version":"v1"}}]}"#
        } else if path.contains("/namespaces/ci/pipelineruns") {
            r#"{"kind":"PipelineRunList","apiVersion":"ergon.dev/v1","metadata":{},"items":[
                {"apiVersion":"ergon.dev/v1","kind":"PipelineRun","metadata":{"name":"build-1","namespace":"ci"},"spec":{}}]}"#
        } else {
            r#"{"kind":"List","apiVersion":"v1","metadata":{},"items":[]}"#
        };
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
        let _ = write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    }
}

#[test]
fn names_come_from_the_cluster_of_the_command_line() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let server = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || serve(&listener));
    std::fs::write(
        folder.join("kubeconfig"),
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: \"{server}\"}}}}]\n\
             contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
        ),
    )
    .unwrap();
    let complete = |words: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_ergon"))
            .arg("--")
            .args(words)
            .env_clear()
            .env("ERGON_COMPLETE", "bash")
            .env("_CLAP_IFS", "\n")
            .env("_CLAP_COMPLETE_INDEX", (words.len() - 1).to_string())
            .env("_CLAP_COMPLETE_COMP_TYPE", "9")
            .env("HOME", folder)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let kubeconfig = folder.join("kubeconfig").display().to_string();
    let of_ci =
        |words: &[&str]| complete(&[&["ergon", "--kubeconfig", &kubeconfig, "-n", "ci"], words].concat());
    assert_eq!(of_ci(&["describe", "b"]), "build-1");
    assert_eq!(of_ci(&["cancel", "pipelinerun/"]), "pipelinerun/build-1");
    assert_eq!(of_ci(&["logs", "c"]), "");
    assert_eq!(complete(&["ergon", "gra"]), "graph");
    // Nothing is said where there is no cluster.
    assert_eq!(complete(&["ergon", "--kubeconfig", "/nowhere", "describe", "b"]), "");
}
