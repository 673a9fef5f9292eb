//! The cases of `runs/` once more: each comes to the same end whether its tasks share pods or not.

use serde_json::{Value, json};

use crate::shared::both;

/// What a case has that the world of shared pods has not: other kinds of children, settings, and things that happen.
const NOT_THERE: [&str; 6] = ["then", "remote", "ancestors", "pipelines", "config", "specs"];

#[test]
fn every_case_ends_alike_with_tasks_in_one_pod() {
    let mut played = 0;
    for (name, mut case) in crate::cases("runs") {
        let spec = &case["run"]["pipelineSpec"];
        let has_other_children = |task: &Value| {
            let custom = ["taskRef", "taskSpec"].iter().any(|key| !task[key]["apiVersion"].is_null());
            custom || task["pipelineRef"].is_object() || task["pipelineSpec"].is_object()
        };
        if !spec.is_object()
            || !case["run"]["status"].is_null()
            || NOT_THERE.iter().any(|key| !case[key].is_null())
            || tasks_of(spec).any(|(_, task)| has_other_children(task))
        {
            continue;
        }
        write_out(&mut case);
        let tasks = case["tasks"].clone();
        println!("{name}");
        both(&case["run"], &tasks);
        played += 1;
    }
    assert!(played >= 35, "only {played} cases were played");
}

/// Gives each task, in the pipeline itself, a script that does what the case says it came to.
fn write_out(case: &mut Value) {
    let (tasks, outcomes) = (case["tasks"].clone(), case["outcomes"].clone());
    let spec = &mut case["run"]["pipelineSpec"];
    let places: Vec<(&str, usize)> = tasks_of(spec).map(|(place, _)| place).collect();
    for (list, at) in places {
        let task = &mut spec[list][at];
        let named = tasks[task["taskRef"]["name"].as_str().unwrap_or_default()].clone();
        if named.is_object() {
            task["taskSpec"] = named;
            task.as_object_mut().unwrap().remove("taskRef");
        }
        if task["taskSpec"]["steps"].is_array() {
            let outcome = &outcomes[format!("run-{}", task["name"].as_str().unwrap_or_default())];
            task["taskSpec"]["steps"] = json!([{"name": "s", "image": "i", "script": script(outcome)}]);
        }
    }
}

fn tasks_of(spec: &Value) -> impl Iterator<Item = ((&'static str, usize), &Value)> {
    ["tasks", "finally"].into_iter().flat_map(|list| {
        let tasks = spec[list].as_array().into_iter().flatten();
        tasks.enumerate().map(move |(at, task)| ((list, at), task))
    })
}

fn script(outcome: &Value) -> String {
    let mut lines = Vec::new();
    for (name, value) in outcome["results"].as_object().into_iter().flatten() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        lines.push(format!("set {name} {text}"));
    }
    lines.push(format!("exit {}", i32::from(!outcome["failed"].is_null())));
    lines.join("\n")
}
