//! The cases in `tests/vectors/validation`: what is admitted under `tekton.dev`, and the words for what is not.
//!
//! A case has a spec under the name of its kind and, when it is to be refused, how each error begins under `errors`. Kinds
//! are followed by the object's defaults, as in a cluster.

use std::path::{Path, PathBuf};

use ergon_api::manifest::{Object, from_value};
use ergon_api::{Config, Group, SetDefaults, Validate, parse};
use serde_json::{Value, json};

/// Where to write what is found instead of what is expected, one JSON text a line.
const DUMP: &str = "ERGON_VECTORS_DUMP";

fn files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/validation");
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// The cases of a file. Its list is wrapped, so that the reader of manifests reads it: what a user's file goes through.
fn cases(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    let wrapped = format!("apiVersion: v1\nkind: Cases\ncases:\n{text}");
    let documents =
        parse(&wrapped, &path.display().to_string()).unwrap_or_else(|problems| panic!("{problems:?}"));
    let Object::Other(Value::Object(mut fields)) = documents[0].object.clone() else {
        panic!("a list of cases")
    };
    let Some(Value::Array(cases)) = fields.remove("cases") else { panic!("a list of cases") };
    cases
}

fn object(case: &Value) -> Value {
    const KINDS: [&str; 6] = ["Task", "Pipeline", "TaskRun", "PipelineRun", "StepAction", "CustomRun"];
    let kind = KINDS.into_iter().find(|kind| case.get(kind).is_some()).expect("a kind");
    let version = if ["StepAction", "CustomRun"].contains(&kind) { "v1beta1" } else { "v1" };
    let metadata = case.get("metadata").cloned().unwrap_or_else(|| json!({"name": "x"}));
    json!({"apiVersion": format!("tekton.dev/{version}"), "kind": kind, "metadata": metadata, "spec": case[kind]})
}

fn errors(case: &Value) -> Vec<String> {
    let object = match from_value(object(case), "") {
        Ok(object) => object,
        Err(problems) => {
            return problems.iter().map(|problem| format!("{}: {}", problem.message, problem.path)).collect();
        }
    };
    macro_rules! check {
        ($object:expr) => {{
            let mut object = *$object;
            object.set_defaults(Group::Tekton, &Config::default());
            object.validate(&Config::default()).iter().map(ToString::to_string).collect()
        }};
    }
    match object {
        Object::Task(object) => check!(object),
        Object::Pipeline(object) => check!(object),
        Object::TaskRun(object) => check!(object),
        Object::PipelineRun(object) => check!(object),
        Object::StepAction(object) => check!(object),
        Object::CustomRun(object) => check!(object),
        Object::Other(other) => panic!("{other}"),
    }
}

#[test]
fn validation() {
    let dump = std::env::var_os(DUMP);
    let (mut lines, mut problems, mut count) = (String::new(), Vec::new(), 0);
    for file in files() {
        for case in cases(&file) {
            count += 1;
            let found = errors(&case);
            let wanted: Vec<&str> =
                case["errors"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
            if dump.is_some() {
                let line = json!({"file": file.file_name().unwrap().to_string_lossy(), "case": case["case"],
                    "object": object(&case), "found": found});
                lines.extend([line.to_string(), "\n".to_owned()]);
            } else if found.len() != wanted.len()
                || found.iter().zip(&wanted).any(|(found, wanted)| !found.starts_with(wanted))
            {
                problems.push(format!("{}\n  expected {wanted:#?}\n  found {found:#?}", case["case"]));
            }
        }
    }
    if let Some(path) = dump {
        std::fs::write(path, lines).unwrap();
        return;
    }
    assert!(count > 300, "only {count} cases");
    assert!(problems.is_empty(), "{} of {count}:\n{}", problems.len(), problems.join("\n"));
}
