//! `ergon lsp` as an editor talks to it: over stdin and stdout.

use std::io::{BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use lsp_server::Message;
use serde_json::{Value, json};

/// An editor.
struct Editor {
    server: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    asked: i32,
    /// What the server has said of files, the last of each.
    said: Vec<Value>,
}

impl Editor {
    fn start() -> Self {
        let mut server = Command::new(env!("CARGO_BIN_EXE_ergon"))
            .arg("lsp")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (to, from) = (server.stdin.take().unwrap(), BufReader::new(server.stdout.take().unwrap()));
        let mut editor = Self { server, to, from, asked: 0, said: Vec::new() };
        let answer = editor.ask("initialize", json!({"capabilities": {}}));
        assert_eq!(answer["serverInfo"]["name"], "ergon");
        assert!(answer["capabilities"]["completionProvider"].is_object());
        editor.tell("initialized", json!({}));
        editor
    }

    fn send(&mut self, message: Value) {
        let message: Message = serde_json::from_value(message).unwrap();
        message.write(&mut self.to).unwrap();
        self.to.flush().unwrap();
    }

    #[expect(clippy::needless_pass_by_value, reason = "as it is written in a test")]
    fn tell(&mut self, method: &str, params: Value) {
        self.send(json!({"jsonrpc": "2.0", "method": method, "params": params}));
    }

    #[expect(clippy::needless_pass_by_value, reason = "as it is written in a test")]
    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let id = self.asked;
        self.send(json!({"jsonrpc": "2.0", "id": id, "method": method, "params": params}));
        loop {
            match Message::read(&mut self.from).unwrap().expect("the server has gone") {
                Message::Response(response) => {
                    assert_eq!(response.id, id.into());
                    return response.response_result.unwrap_or_else(|error| json!({"error": error.message}));
                }
                Message::Notification(said) => self.said.push(said.params),
                Message::Request(request) => panic!("{request:?}"),
            }
        }
    }

    /// What is said of a file next.
    fn diagnostics(&mut self, uri: &str) -> Vec<Value> {
        loop {
            if let Some(at) = self.said.iter().position(|said| said["uri"] == uri) {
                return self.said.remove(at)["diagnostics"].as_array().unwrap().clone();
            }
            match Message::read(&mut self.from).unwrap().expect("the server has gone") {
                Message::Notification(said) => self.said.push(said.params),
                other => panic!("{other:?}"),
            }
        }
    }

    fn open(&mut self, uri: &str, text: &str) {
        self.tell(
            "textDocument/didOpen",
            json!({"textDocument": {"uri": uri, "languageId": "yaml", "version": 1, "text": text}}),
        );
    }

    fn change(&mut self, uri: &str, text: &str) {
        self.tell(
            "textDocument/didChange",
            json!({"textDocument": {"uri": uri, "version": 2}, "contentChanges": [{"text": text}]}),
        );
    }

    /// Asks at the place of `@` in the text, which the server has without it.
    fn ask_at(&mut self, method: &str, uri: &str, text: &str) -> Value {
        let at = text.find('@').unwrap();
        let line = text[..at].matches('\n').count();
        let character = at - text[..at].rfind('\n').map_or(0, |end| end + 1);
        self.change(uri, &text.replacen('@', "", 1));
        self.ask(
            method,
            json!({"textDocument": {"uri": uri}, "position": {"line": line, "character": character}}),
        )
    }

    fn labels(&mut self, uri: &str, text: &str) -> Vec<String> {
        let items = self.ask_at("textDocument/completion", uri, text);
        items.as_array().unwrap().iter().map(|item| item["label"].as_str().unwrap().to_owned()).collect()
    }

    fn end(mut self) {
        assert_eq!(self.ask("shutdown", Value::Null), Value::Null);
        self.tell("exit", Value::Null);
        assert!(self.server.wait().unwrap().success());
    }
}

const TASK: &str = "apiVersion: ergon.dev/v1
kind: Task
metadata: {name: build}
spec:
  description: Builds an image.
  params:
    - name: image
      description: What to build.
    - name: tags
      type: array
      default: []
  results:
    - name: digest
      description: What was built.
  workspaces:
    - name: source
  steps:
    - name: first
      image: tool:1
      results: [{name: size}]
      script: tool {{params.image}} > {{step.results.size.path}}
    - name: build
      image: tool:1
      workingDir: \"{{workspaces.source.path}}\"
      args: [\"{{params.tags}}\"]
      script: |
        tool > {{results.digest.path}}
";

const PIPELINE: &str = "apiVersion: ergon.dev/v1
kind: Pipeline
metadata: {name: release}
spec:
  params:
    - name: version
  workspaces:
    - name: source
  tasks:
    - name: build
      timeout: 1m
      taskRef:
        name: build
      params:
        - {name: image, value: \"app:{{params.version}}\"}
      workspaces:
        - {name: source, workspace: source}
    - name: show
      timeout: 1m
      runAfter: [build]
      taskSpec:
        steps:
          - image: tool:1
            script: |
              echo {{tasks.build.results.digest}}
";

fn uri(folder: &Path, name: &str) -> String {
    format!("file://{}", folder.join(name).display())
}

#[test]
fn an_editor_is_told_what_is_wrong_while_somebody_writes() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("task.yaml"), TASK).unwrap();
    let (task, pipeline) = (uri(folder.path(), "task.yaml"), uri(folder.path(), "pipeline.yaml"));
    let mut editor = Editor::start();
    editor.open(&pipeline, PIPELINE);
    assert_eq!(editor.diagnostics(&pipeline), Vec::<Value>::new());
    // The Task beside it is known, though nobody has opened it.
    editor.change(&pipeline, &PIPELINE.replace("name: image", "name: imgae"));
    let found = editor.diagnostics(&pipeline);
    let codes: Vec<&str> = found.iter().map(|it| it["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["missing-param", "unknown-param"], "{found:?}");
    assert_eq!(
        found[1]["range"],
        json!({"start": {"line": 14, "character": 17}, "end": {"line": 14, "character": 22}})
    );
    assert!(found[1]["message"].as_str().unwrap().ends_with("help: did you mean `image`?"));
    // And a Task that changes in the editor changes what is said of the Pipeline.
    editor.change(&pipeline, PIPELINE);
    assert!(editor.diagnostics(&pipeline).is_empty());
    editor
        .open(&task, &TASK.replace("- name: digest", "- name: sum").replace("results.digest", "results.sum"));
    let found = editor.diagnostics(&pipeline);
    assert_eq!(found[0]["code"], "unknown-result", "{found:?}");
    assert!(editor.diagnostics(&task).is_empty());
    editor.change(&task, "apiVersion: [\n");
    assert_eq!(editor.diagnostics(&task)[0]["code"], "syntax");
    editor.end();
}

#[test]
fn names_and_fields_are_completed() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("task.yaml"), TASK).unwrap();
    let (task, pipeline) = (uri(folder.path(), "task2.yaml"), uri(folder.path(), "pipeline.yaml"));
    let mut editor = Editor::start();
    let own = TASK.replace("name: build}", "name: other}");
    editor.open(&task, &own);
    editor.open(&pipeline, PIPELINE);
    #[expect(clippy::type_complexity, reason = "a table")]
    let table: &[(&str, &str, &str, &str, &[&str], &[&str])] = &[
        (
            &task,
            &own,
            "tool > {{",
            "tool > {{par@",
            &["params.image", "results.digest.path", "steps.first.results.size"],
            &["tasks.build.results.digest", "steps.build.results.size"],
        ),
        (
            &task,
            &own,
            "tool > {{results.digest.path}}",
            "{{@",
            &["#if", "json", "workspaces.source.path"],
            &[],
        ),
        (&task, &own, "tool > {{results.digest.path}}", "{{#@", &["each", "if"], &["json", "params.image"]),
        (
            &task,
            &own,
            "    - name: first\n",
            "    - name: first\n      @\n",
            &["script", "onError", "computeResources"],
            &["steps", "scriptValues"],
        ),
        (&task, &own, "  params:\n", "  @\n  params:\n", &["steps", "results", "description"], &["image"]),
        (&task, &own, "      type: array", "      type: @", &["array", "string"], &[]),
        (&task, &own, "kind: Task", "kind: @", &["Pipeline", "Task"], &[]),
        (
            &pipeline,
            PIPELINE,
            "        name: build\n      params",
            "        name: @\n      params",
            &["build", "other"],
            &[],
        ),
        (&pipeline, PIPELINE, "taskRef:\n        name: build", "taskRef: {name: b@}", &["build"], &[]),
        (&pipeline, PIPELINE, "runAfter: [build]", "runAfter: [@]", &["build"], &["show"]),
        (
            &pipeline,
            PIPELINE,
            "echo {{tasks.build.results.digest}}",
            "echo {{tasks.@",
            &["tasks.build.results.digest", "params.version"],
            &["tasks.show.results.digest"],
        ),
        (&pipeline, PIPELINE, "value: \"app:{{params.version}}\"", "value: {{@", &["params.version"], &[]),
    ];
    for (uri, text, from, to, wanted, unwanted) in table {
        assert!(text.contains(from), "{from}");
        let labels = editor.labels(uri, &text.replacen(from, to, 1));
        for label in *wanted {
            assert!(labels.iter().any(|known| known == label), "{to}: {label} is not in {labels:?}");
        }
        for label in *unwanted {
            assert!(labels.iter().all(|known| known != label), "{to}: {label} is in {labels:?}");
        }
        editor.change(uri, text);
    }
    // What is written takes the place of what is there.
    let items = editor.ask_at(
        "textDocument/completion",
        &pipeline,
        &PIPELINE.replace("{{tasks.build", "{{tasks.bu@ild"),
    );
    let item =
        items.as_array().unwrap().iter().find(|item| item["label"] == "tasks.build.results.digest").unwrap();
    assert_eq!(item["textEdit"]["range"]["start"]["character"], 21);
    assert_eq!(item["textEdit"]["range"]["end"]["character"], 47);
    assert_eq!(item["documentation"]["value"], "What was built.");
    editor.end();
}

#[test]
fn names_are_explained_and_found() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("task.yaml"), TASK).unwrap();
    let (task, pipeline) = (uri(folder.path(), "task.yaml"), uri(folder.path(), "pipeline.yaml"));
    let mut editor = Editor::start();
    editor.open(&pipeline, PIPELINE);
    // What is asked about, a part of the hover, and where it is declared.
    let table: &[(&str, &str, &str, &str, usize)] = &[
        (
            "{{tasks.build",
            "{{tasks.bu@ild",
            "`tasks.build.results.digest`: string\n\nWhat was built.",
            &task,
            12,
        ),
        ("app:{{params", "app:{{par@ams", "`params.version`: string", &pipeline, 5),
        (
            "        name: build\n",
            "        name: bu@ild\n",
            "Task `build`\n\nBuilds an image.\n\nParameters:\n\n- `image` (string, needed) What to build.",
            &task,
            2,
        ),
        ("runAfter: [build]", "runAfter: [bu@ild]", "", &pipeline, 9),
        ("      timeout: 1m\n      taskRef", "      time@out: 1m\n      taskRef", "`timeout`: string", "", 0),
    ];
    for (from, to, words, file, line) in table {
        let text = PIPELINE.replacen(from, to, 1);
        let hover = editor.ask_at("textDocument/hover", &pipeline, &text);
        let said = hover["contents"]["value"].as_str().unwrap_or_default();
        assert!(said.starts_with(words), "{to}: {said}");
        let place = editor.ask_at("textDocument/definition", &pipeline, &text);
        if file.is_empty() {
            assert_eq!(place, Value::Null, "{to}");
        } else {
            assert_eq!(
                (&place["uri"], &place["range"]["start"]["line"]),
                (&(*file).into(), &(*line).into()),
                "{to}"
            );
        }
    }
    editor.end();
}

#[test]
fn findings_are_mended_and_ignored_in_the_editor() {
    let folder = tempfile::tempdir().unwrap();
    let file = uri(folder.path(), "task.yaml");
    let text = "apiVersion: tekton.dev/v1\nkind: Task\nmetadata: {name: t}\nspec:\n  params: [{name: who}]\n  steps:\n    \
                - image: tool:1\n      script: |\n        echo \"$(params.who)\"\n";
    let mut editor = Editor::start();
    editor.open(&file, text);
    let found = editor.diagnostics(&file);
    let actions = editor.ask(
        "textDocument/codeAction",
        json!({"textDocument": {"uri": &file}, "range": found[0]["range"], "context": {"diagnostics": found}}),
    );
    let titles: Vec<&str> =
        actions.as_array().unwrap().iter().map(|action| action["title"].as_str().unwrap()).collect();
    assert_eq!(titles, ["Hand the values over in `env`", "Ignore `script-injection` here"]);
    let edits = actions[0]["edit"]["changes"][&file].as_array().unwrap();
    assert_eq!(edits[0]["newText"], "${WHO}");
    let ignore = &actions[1]["edit"]["changes"][&file][0];
    assert_eq!(ignore["newText"], "      # ergon-lint: ignore=script-injection\n");
    assert_eq!(ignore["range"]["start"], json!({"line": 7, "character": 0}));
    // What is no request of ours is answered, too.
    assert!(
        editor.ask("textDocument/rename", json!({}))["error"].as_str().unwrap().contains("is not served")
    );
    assert!(editor.ask("textDocument/hover", json!({"no": 1}))["error"].is_string());
    editor.end();
}
