//! `ergon test` without containers: everything is mocked.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/testing")
}

fn test(folder: &Path, args: &[&str]) -> Output {
    let home = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_ergon"));
    command.arg("test").args(args).env_clear().env("HOME", home.path()).current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn what_is_as_expected_passes_and_branches_are_counted() {
    let output = test(&folder(), &[]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(&output.stderr));
    assert!(said.contains("PASS deliver: a second try helps ("), "{said}");
    assert!(said.contains("\n`when`: 4 of 4 branches taken\n"), "{said}");
    assert!(said.contains("\n5 tests: 5 passed, 0 failed; 5 without containers; in "), "{said}");

    let output = test(&folder(), &["tests", "-k", "nightly", "-j", "1"]);
    let said = text(&output.stdout);
    assert!(said.contains("\n`when`: 2 of 4 branches taken\n"), "{said}");
    assert!(said.contains("  pipeline.yaml:29:7: `promote` of deliver never ran\n"), "{said}");
    assert!(said.contains("\n1 test: 1 passed"), "{said}");
}

#[test]
fn what_is_not_as_expected_fails_with_its_place() {
    let junit = tempfile::NamedTempFile::new().unwrap();
    let output = test(&folder(), &["failing/deliver.yaml", "--junit", junit.path().to_str().unwrap()]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}{}", text(&output.stderr));
    let at = "     failing/deliver.yaml:";
    for wanted in [
        format!(
            "{at}12:24: status of the run\n       expected: Failed\n       found:    Succeeded (Completed: "
        ),
        format!("{at}16:19: result `digest`\n       expected: sha256:2\n       found:    sha256:1\n"),
        format!("{at}18:30: task `tell`\n       expected: Succeeded\n       found:    Skipped (When "),
        format!(
            "{at}20:22: log\n       expected: something with `three`\n       found:    2 lines, none of them that\n"
        ),
        format!("{at}20:29: log of task `build`\n       expected: no line with something with `two`\n"),
        "its mock has the result `wrong`, which is not declared".to_owned(),
        format!(
            "{at}25:45: file `a.txt` in workspace `source`\n       - expected + found\n         one\n       - 2\n       + two\n"
        ),
        "     the last lines that were printed:\n       build | pack | one\n".to_owned(),
        "\n6 tests: 0 passed, 6 failed; ".to_owned(),
    ] {
        assert!(said.contains(&wanted), "{wanted}\nis not in\n{said}");
    }
    let report = std::fs::read_to_string(junit.path()).unwrap();
    assert!(report.contains("tests=\"6\" skipped=\"0\" failures=\"6\" errors=\"0\""), "{report}");

    let output = test(&folder(), &["failing/deliver.yaml", "-k", "wishes: result", "-o", "json"]);
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&said["passed"], &said["failed"]), (&0.into(), &1.into()));
    let wrong = &said["cases"][0]["mismatches"][0];
    assert_eq!(wrong["place"], "failing/deliver.yaml:16:19");
    assert_eq!((&wrong["expected"], &wrong["found"]), (&"sha256:2".into(), &"sha256:1".into()));
}

#[test]
fn tests_that_are_wrong_are_told_with_their_place() {
    let head = "apiVersion: ergon.dev/v1\nkind: Test\nmetadata: {name: w}\nspec:\n";
    let files = format!("{head}  files: [../pipeline.yaml]\n");
    // What the file says, and what is said of it.
    let table = [
        (
            format!("{files}  cases:\n    - {{name: a, expects: {{}}}}\n"),
            "w.yaml:7:17",
            "unknown field `expects`",
            "did you mean `expect`?",
        ),
        (
            format!("{files}  cases:\n    - name: a\n      expect: {{tasks: {{build: Sucess}}}}\n"),
            "w.yaml:8:31",
            "unknown variant `Sucess`",
            "",
        ),
        (
            format!(
                "{files}  cases:\n    - name: a\n      expect: {{results: {{digest: {{matches: '['}}}}}}\n"
            ),
            "w.yaml:8:34",
            "`[` is no regular expression: unclosed character class",
            "",
        ),
        (
            format!("{files}  mocks: {{biuld: {{}}}}\n  cases: [{{name: a}}]\n"),
            "w.yaml:6:11",
            "Pipeline `deliver` has no task `biuld`",
            "did you mean `build`?",
        ),
        (
            format!("{files}  mocks: {{build: {{steps: {{link: {{}}}}}}}}\n  cases: [{{name: a}}]\n"),
            "w.yaml:6:27",
            "Pipeline `deliver` has no step `link`",
            "there are: compile, pack",
        ),
        (
            format!("{files}  params: {{chanel: x}}\n  cases: [{{name: a}}]\n"),
            "w.yaml:6:12",
            "has no parameter `chanel`",
            "did you mean `channel`?",
        ),
        (
            format!("{files}  workspaces: {{source: {{from: none}}}}\n  cases: [{{name: a}}]\n"),
            "w.yaml:6:31",
            "there is no folder `w/none`",
            "",
        ),
        (
            format!("{files}  cases: [{{name: a}}, {{name: a}}]\n"),
            "w.yaml:6:29",
            "there is another case `a`",
            "",
        ),
        (format!("{files}  cases: []\n"), "w.yaml:6:3", "there are no cases", "with a `name`"),
        (
            format!("{head}  files: [none.yaml]\n  cases: [{{name: a}}]\n"),
            "w.yaml:5:11",
            "there is no file `w/none.yaml`",
            "",
        ),
        (
            format!("{files}  run: delivery\n  cases: [{{name: a}}]\n"),
            "w.yaml:6:8",
            "there is no Task, Pipeline or run `delivery`",
            "",
        ),
        ("kind: Task\n".to_owned(), "w.yaml:1:1", "this is no Test of Ergon", "apiVersion: ergon.dev/v1"),
        (format!("{head}  cases: [\n"), "w.yaml:5:10", "not valid YAML", ""),
    ];
    let root = tempfile::tempdir().unwrap();
    std::fs::copy(folder().join("pipeline.yaml"), root.path().join("pipeline.yaml")).unwrap();
    std::fs::create_dir(root.path().join("w")).unwrap();
    for (content, place, message, help) in table {
        std::fs::write(root.path().join("w/w.yaml"), &content).unwrap();
        let output = test(root.path(), &["w/w.yaml"]);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{content}{said}");
        for wanted in [place, message, help] {
            assert!(said.contains(wanted), "{content}{wanted}\nis not in\n{said}");
        }
    }
    let output = test(root.path(), &["w", "-k", "x"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("there are no tests"), "{}", text(&output.stderr));
    assert_eq!(test(root.path(), &["none"]).status.code(), Some(2));
}
