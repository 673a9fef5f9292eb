//! `ergon lint`, as a program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn lint(folder: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ergon"));
    command.arg("lint").args(args).env_clear().env("HOME", folder).current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

const TASK: &str = "apiVersion: tekton.dev/v1
kind: Task
metadata: {name: greet}
spec:
  params:
    - name: who   # whoever it is
  steps:
    - name: say
      image: busybox
      script: |
        echo \"Hello, $(params.who)\"
";

#[test]
fn findings_are_shown_where_they_stand() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("task.yaml"), TASK).unwrap();
    let output = lint(folder.path(), &["task.yaml"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    let wanted = "warning[unpinned-image]: the image `busybox` has no tag: what runs may change from one run to the next
 --> task.yaml:9:14
  |
9 |       image: busybox
  |              ^^^^^^^
  = in `spec.steps[0].image`
  = help: write a version, as in `busybox:1.2`, or a digest: `busybox@sha256:…`

warning[script-injection]: the value of `params.who` is pasted into the code: what is in it can run as a command
  --> task.yaml:11:22
   |
11 |         echo \"Hello, $(params.who)\"
   |                      ^^^^^^^^^^^^^
   = in `spec.steps[0].script`
   = help: hand it over in `env` and read it there: \"$NAME\"

";
    assert_eq!(text(&output.stdout), wanted);
    assert_eq!(text(&output.stderr), "2 warnings in 1 file; 1 can be mended with `--fix`\n");
}

#[test]
fn exit_codes_and_levels() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    std::fs::create_dir(folder.path().join("fine")).unwrap();
    put("task.yaml", TASK);
    put(
        "fine/task.yaml",
        &TASK.replace("busybox", "busybox:1").replace("$(params.who)", "x").replace("params", "results"),
    );
    let off = ["--rule", "unpinned-image=off", "--rule", "script-injection=info"];
    let table: &[(&[&str], i32, &str)] = &[
        (&["task.yaml"], 1, "2 warnings in 1 file"),
        (&["task.yaml", "--level", "error"], 1, "2 below the level error"),
        (&["task.yaml", "--fail-on", "error"], 0, "2 warnings"),
        (&[&["task.yaml"], &off[..]].concat(), 0, "1 below the level warning, which `--level info` shows"),
        (&["fine/task.yaml", "--rule", "unwritten-result=off"], 0, "no problems in 1 file"),
        (&["nowhere.yaml"], 4, "cannot read `nowhere.yaml`"),
        (&["--rule", "unpind-image=off"], 2, "did you mean `unpinned-image`?"),
        (&["--rule", "syntax=off"], 2, "it is always an error"),
        (&["--rule", "root=loud"], 2, "the levels are info, warning, error and off"),
        (&["--output", "xml"], 2, "possible values"),
    ];
    for (args, code, wanted) in table {
        let output = lint(folder.path(), args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {said}");
        assert!(said.contains(wanted), "{args:?}: {said}");
    }
    let list = text(&lint(folder.path(), &["--list", "--rule", "root=error"]).stdout);
    let root = list.lines().find(|line| line.starts_with("root")).unwrap();
    assert!(root.contains("error"), "{list}");
}

#[test]
fn mending_keeps_all_else_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("task.yaml");
    std::fs::write(&file, format!("\u{feff}{TASK}")).unwrap();
    let output = lint(folder.path(), &["--diff"]);
    let wanted = "--- task.yaml\n+++ task.yaml\n@@ -7,5 +7,8 @@\n   steps:\n     - name: say\n       image: busybox\n\
                  +      env:\n+        - name: WHO\n+          value: $(params.who)\n       script: |\n\
                  -        echo \"Hello, $(params.who)\"\n+        echo \"Hello, ${WHO}\"\n";
    assert_eq!(text(&output.stdout), wanted);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), format!("\u{feff}{TASK}"));
    let output = lint(folder.path(), &["--fix"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).starts_with("mended 1 problem in task.yaml\n1 warning in 1 file\n"));
    let now = std::fs::read_to_string(&file).unwrap();
    assert!(now.starts_with('\u{feff}') && now.contains("- name: who   # whoever it is"), "{now}");
    assert!(lint(folder.path(), &["--diff"]).stdout.is_empty());
}

#[test]
fn programs_read_findings_as_data() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a task.yaml"), TASK).unwrap();
    let json: Value = serde_json::from_slice(&lint(folder.path(), &["-o", "json"]).stdout).unwrap();
    assert_eq!((&json["files"], &json["warnings"], &json["errors"]), (&1.into(), &2.into(), &0.into()));
    let first = &json["findings"][0];
    assert_eq!(
        (&first["rule"], &first["line"], &first["column"]),
        (&"unpinned-image".into(), &9.into(), &14.into())
    );
    assert_eq!(first["endColumn"], 21);

    let sarif: Value = serde_json::from_slice(&lint(folder.path(), &["-o", "sarif"]).stdout).unwrap();
    assert_eq!(sarif["version"], "2.1.0");
    let run = &sarif["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().unwrap();
    for result in run["results"].as_array().unwrap() {
        let rule = &rules[usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap()];
        assert_eq!(rule["id"], result["ruleId"]);
        let place = &result["locations"][0]["physicalLocation"];
        assert_eq!(place["artifactLocation"]["uri"], "a%20task.yaml");
        assert!(place["region"]["startLine"].as_u64().unwrap() > 0);
    }
    let change = &run["results"][1]["fixes"][0]["artifactChanges"][0]["replacements"][0];
    assert_eq!(change["insertedContent"]["text"], "${WHO}");
    assert_eq!(change["deletedRegion"]["startColumn"], 22);
}

#[test]
fn what_stands_beside_a_file_is_known() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    put("task.yaml", TASK);
    put("broken.yaml", "apiVersion: tekton.dev/v1\nkind: [\n");
    put(
        "run.yaml",
        "apiVersion: tekton.dev/v1\nkind: TaskRun\nmetadata: {generateName: r-}\nspec: {taskRef: {name: greet}}\n",
    );
    let output = lint(folder.path(), &["run.yaml"]);
    let said = text(&output.stdout);
    assert!(said.starts_with("error[missing-param]: Task `greet` needs the parameter `who`\n"), "{said}");
    assert_eq!(said.matches("-->").count(), 1, "only the file that is named: {said}");
}

#[test]
fn the_examples_are_clean() {
    let places: Vec<&str> =
        ["examples", "catalog"].into_iter().filter(|place| root().join(place).is_dir()).collect();
    let output = lint(&root(), &places);
    assert_eq!(output.status.code(), Some(0), "{}{}", text(&output.stdout), text(&output.stderr));
}
