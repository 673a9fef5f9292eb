//! Scripts with tags, from a task run to its steps: the engine's own plan, the agent's loop and real shims. Whatever is in
//! a value, it arrives byte for byte, and nothing of it runs.

use ergon_api::{Config, Group, TaskRun};
use ergon_engine::pod::{Platform, plan_of};
use ergon_engine::task::{Observed, PodSeen, reconcile};
use ergon_engine::{Action, Library, Outcome};
use ergon_wire::{Exit, PodPlan};
use serde_json::json;

use crate::pods::Pod;

const FIRST: &str = "printf '%s' {{params.value}} > {{step.results.left.path}}";

const SECOND: &str = r#"#!/bin/bash
set -eu
printf '%s' {{params.value}} > word
printf '%s' "{{params.value}}" > double
printf '%s' '{{params.value}}' > single
printf '%s' "{{steps.first.results.left}}" > late
{{#each params.list as |item|}}
printf '%s\n' "{{item}}" '{{@index}}' >> list
{{/each}}
cat > here <<EOF
{{params.value}}
EOF
printf '%s' "$(printf '%s.' {{params.value}})" > command
{{#if (eq params.value "")}}touch empty{{/if}}
printf '%s' '\{{params.value}}' > braces
"#;

/// The plan that the engine makes for a run with this value, with its folders below `root`.
fn plan(value: &str, root: &str) -> PodPlan {
    let mut run = TaskRun::new(Group::Ergon, "run");
    run.metadata.namespace = Some("default".to_owned());
    run.metadata.uid = Some("uid".to_owned());
    run.spec = serde_json::from_value(json!({
        "params": [{"name": "value", "value": value}, {"name": "list", "value": [value, "", "-n"]}],
        "taskSpec": {
            "params": [{"name": "value"}, {"name": "list", "type": "array"}],
            "steps": [
                {"name": "first", "image": "i", "script": FIRST, "results": [{"name": "left"}]},
                {"name": "second", "image": "i", "script": SECOND},
            ],
        },
    }))
    .unwrap();
    let account = ergon_engine::pod::Account::default();
    let library = Library {
        accounts: [("default".to_owned(), Some(account))].into(),
        limit_ranges: Some(Vec::new()),
        ..Library::default()
    };
    let observed = Observed {
        group: Group::Ergon,
        run: &run,
        pod: PodSeen::NotInCache,
        report: None,
        library: &library,
        config: &Config::default(),
        platform: &Platform { image: "ergon:1".to_owned(), image_volumes: true, report: None },
    };
    let Outcome::Decided(decision) = reconcile(&observed, jiff::Timestamp::UNIX_EPOCH) else {
        panic!("nothing is missing")
    };
    let pod = decision.actions.into_iter().find_map(|action| match action {
        Action::CreatePod(pod) => Some(pod),
        _ => None,
    });
    let plan = plan_of(&pod.unwrap_or_else(|| panic!("{:?}", decision.status.conditions))).unwrap();
    let text = serde_json::to_string(&plan).unwrap().replace("\"/ergon/", &format!("\"{root}/"));
    let mut plan: PodPlan = serde_json::from_str(&text).unwrap();
    for step in &mut plan.tasks[0].steps {
        step.working_dir = Some(format!("{root}/work"));
        step.credentials = None;
    }
    plan
}

fn values() -> Vec<String> {
    let every_byte: String = (1..=255u8).map(char::from).collect();
    let mut values: Vec<String> = [
        "",
        "plain",
        "-n",
        "feature/'; touch canary; echo '",
        "\"$(touch canary)\"`touch canary`",
        "$(params.list) $(context.taskRun.name) $(steps.first.results.left) $$(HOME) $(HOME) ${HOME}",
        "{{params.list}} {{#if x}} \\{{ }}",
        "a\nEOF\ntouch canary\n\n",
        "* ? [a] ~ ! # & | > < ( ) { } = \\ %s \t \r",
        "é🦀\u{202e}",
    ]
    .map(str::to_owned)
    .to_vec();
    values.push(every_byte);
    values.push("'\"$(touch canary)`\n".repeat(12_000));
    values
}

#[tokio::test]
async fn each_value_arrives_byte_for_byte() {
    for value in values() {
        let shown: String = value.chars().take(40).collect();
        let mut pod = Pod::of(|root| plan(&value, root));
        pod.shim_of("step-first");
        pod.shim_of("step-second");
        let work = pod.path("work");
        let kept = pod.keep();
        let (records, _) = pod.finish().await;
        for record in &records {
            assert_eq!(record.exit, Exit::Exited { code: 0 }, "{shown:?}: {record:?}");
        }
        let read = |name: &str| std::fs::read_to_string(work.join(name)).unwrap();
        let expected = [
            ("word", value.clone()),
            ("double", value.clone()),
            ("single", value.clone()),
            ("late", value.clone()),
            ("list", format!("{value}\n0\n\n1\n-n\n2\n")),
            ("here", format!("{value}\n")),
            ("command", format!("{value}.")),
            ("braces", "{{params.value}}".to_owned()),
        ];
        for (file, expected) in &expected {
            assert!(read(file) == *expected, "{shown:?} in {file}: {:?}", read(file));
        }
        assert_eq!(work.join("empty").exists(), value.is_empty());
        let files = std::fs::read_dir(&work).unwrap().count();
        assert_eq!(files, expected.len() + usize::from(value.is_empty()), "{shown:?} made a file");
        drop(kept);
    }
}
