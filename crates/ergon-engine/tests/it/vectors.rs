//! The cases in `tests/vectors/{substitution,graph,when}`.

use std::collections::BTreeMap;
use std::path::Path;

use ergon_api::{Config, Group, ParamValue, PipelineRun, PipelineTask};
use ergon_engine::expr::{Scope, expand, expand_items, expand_json, expand_value};
use ergon_engine::graph::{Graph, GraphError};
use ergon_engine::run::{Children, Observed, reconcile};
use ergon_engine::{Action, Library, Outcome};
use jiff::Timestamp;
use serde_json::{Value, json};

fn read(file: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(file);
    let text = std::fs::read_to_string(&path).unwrap();
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// Checks all cases of a list. `check` says what was found where it is not what the case expects.
fn check_all(file: &str, cases: &Value, least: usize, check: impl Fn(&Value) -> Result<(), String>) {
    let cases = cases.as_array().unwrap_or_else(|| panic!("{file}: a list of cases"));
    assert!(cases.len() >= least, "{file}: only {} cases", cases.len());
    let problems: Vec<String> = cases
        .iter()
        .filter_map(|case| check(case).err().map(|found| format!("{case}\n  found {found}")))
        .collect();
    assert!(problems.is_empty(), "{file}: {} of {}:\n{}", problems.len(), cases.len(), problems.join("\n"));
}

fn same(found: &Value, expected: &Value) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(found.to_string()) }
}

#[test]
fn substitution() {
    let file = read("substitution/texts.yaml");
    let mut scope = Scope::default();
    for (name, value) in file["scope"].as_object().unwrap() {
        let path: Vec<&str> = name.split('/').collect();
        scope.set(&path, ParamValue::from_json(value.clone()));
    }
    check_all("substitution/texts.yaml", &file["cases"], 200, |case| {
        if let Some(text) = case["text"].as_str() {
            same(&json!(expand(text, &scope)), &case["is"])
        } else if let Some(text) = case["item"].as_str() {
            same(&json!(expand_items(text, &scope)), &case["are"])
        } else if case.get("value").is_some() {
            let value = ParamValue::from_json(case["value"].clone());
            same(&json!(expand_value(&value, &scope)), &case["is"])
        } else {
            let mut value = case["json"].clone();
            expand_json(&mut value, &scope);
            same(&value, &case["is"])
        }
    });
}

#[test]
fn graph() {
    check_all("graph/order.yaml", &read("graph/order.yaml"), 50, |case| {
        let tasks: Vec<PipelineTask> = serde_json::from_value(case["tasks"].clone()).unwrap();
        let mut expected = case.clone();
        for given in ["case", "tasks"] {
            expected.as_object_mut().unwrap().remove(given);
        }
        let found = match Graph::build(&tasks) {
            Ok(graph) => {
                let mut found = json!({"order": graph.order()});
                let (mut parents, mut results) = (BTreeMap::new(), BTreeMap::new());
                for task in &tasks {
                    parents.insert(&task.name, graph.parents(&task.name));
                    results.insert(&task.name, graph.result_parents(&task.name));
                }
                for (field, mut of) in [("parents", parents), ("results", results)] {
                    of.retain(|_, tasks| !tasks.is_empty());
                    if !of.is_empty() {
                        found[field] = json!(of);
                    }
                }
                found
            }
            Err(GraphError::Cycle { path }) => json!({"cycle": path}),
            Err(GraphError::Duplicate(name)) => json!({"duplicate": name}),
            Err(GraphError::UnknownTask { edge, .. }) => json!({"unknown": edge.needs}),
        };
        same(&found, &expected)
    });
}

/// Whether the one task of a run starts, or the condition that the run fails with.
fn decide(params: &Value, when: &Value) -> Result<bool, String> {
    let given: Vec<Value> = params
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| json!({"name": name, "value": value}))
        .collect();
    let declared: Vec<Value> = params
        .as_object()
        .unwrap()
        .iter()
        .map(|(name, value)| match value {
            Value::Object(keys) => {
                let properties: BTreeMap<&String, Value> =
                    keys.keys().map(|key| (key, json!({"type": "string"}))).collect();
                json!({"name": name, "type": "object", "properties": properties})
            }
            Value::Array(_) => json!({"name": name, "type": "array"}),
            _ => json!({"name": name}),
        })
        .collect();
    let mut run = PipelineRun::new(Group::Tekton, "run");
    run.metadata.namespace = Some("default".to_owned());
    run.metadata.uid = Some("uid-run".to_owned());
    run.spec = serde_json::from_value(json!({
        "params": given,
        "pipelineSpec": {
            "params": declared,
            "tasks": [{"name": "t", "when": when, "taskSpec": {"steps": [{"image": "i", "script": "s"}]}}],
        },
    }))
    .unwrap();
    for _ in 0..3 {
        let observed = Observed {
            group: Group::Tekton,
            run: &run,
            children: Children { task_runs: &[], custom_runs: &[], pipeline_runs: &[] },
            ancestors: &[],
            library: &Library::default(),
            config: &Config::default(),
            plan: None,
            sharing: None,
        };
        let now = Timestamp::from_second(1_700_000_000).unwrap();
        let Outcome::Decided(decision) = reconcile(&observed, now) else { panic!("the run asks for more") };
        if decision.actions.iter().any(|action| matches!(action, Action::CreateTaskRun(_))) {
            return Ok(true);
        }
        if decision.status.skipped_tasks.iter().any(|task| task.name == "t") {
            return Ok(false);
        }
        run.status = Some(decision.status);
    }
    Err(run.status.as_ref().and_then(|status| status.condition()).unwrap().message().to_owned())
}

#[test]
fn when() {
    let file = read("when/conditions.yaml");
    check_all("when/conditions.yaml", &file["cases"], 150, |case| {
        let found = decide(&file["params"], &case["when"]);
        match (&found, case["error"].as_str()) {
            (Err(message), Some(error)) if message.contains(error) => Ok(()),
            (Ok(runs), None) if case["runs"] == json!(runs) => Ok(()),
            _ => Err(format!("{found:?}")),
        }
    });
}
