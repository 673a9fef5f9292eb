//! Pipeline runs: each case is carried to its end with tasks that end as the case says.

use std::collections::BTreeMap;
use std::sync::Arc;

use ergon_api::{
    Condition, ConditionStatus, Config, CustomRun, CustomRunSpecStatus, Group, Param, Pipeline, PipelineRun,
    PipelineRunStatus, PipelineSpec, Task, TaskRun,
};
use ergon_engine::run::{Child, Children, Observed, Plan, reconcile};
use ergon_engine::{Action, Library, Need, Outcome};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::{Value, json};

/// A run in a world where nothing is done but what the case says.
struct World {
    run: PipelineRun,
    children: Vec<Object>,
    ancestors: Vec<PipelineRun>,
    specs: Value,
    library: Library,
    config: Config,
    outcomes: Value,
    now: Timestamp,
    log: Vec<String>,
}

/// A child of any kind.
enum Object {
    Task(TaskRun),
    Custom(CustomRun),
    Pipeline(PipelineRun),
}

impl Object {
    fn child(&self) -> Child<'_> {
        match self {
            Self::Task(run) => Child::Task(run),
            Self::Custom(run) => Child::Custom(run),
            Self::Pipeline(run) => Child::Pipeline(run),
        }
    }

    fn is_told(&self) -> bool {
        match self {
            Self::Task(run) => run.spec.status.is_some(),
            Self::Custom(run) => run.spec.status.is_some(),
            Self::Pipeline(run) => run.spec.status.is_some(),
        }
    }

    fn metadata(&mut self) -> &mut ObjectMeta {
        match self {
            Self::Task(run) => &mut run.metadata,
            Self::Custom(run) => &mut run.metadata,
            Self::Pipeline(run) => &mut run.metadata,
        }
    }

    /// Gives it a status as its controller would.
    fn end(&mut self, condition: &Condition, results: &Value, artifacts: &Value, now: Timestamp) {
        let status = json!({"results": results, "conditions": [condition]});
        match self {
            Self::Task(run) => {
                let mut ended: ergon_api::TaskRunStatus = serde_json::from_value(status).unwrap();
                ended.completion_time = Some(Time(now));
                ended.artifacts = serde_json::from_value(artifacts.clone()).unwrap();
                run.status = Some(ended);
            }
            Self::Custom(run) => run.status = Some(serde_json::from_value(status).unwrap()),
            Self::Pipeline(run) => run.status = Some(serde_json::from_value(status).unwrap()),
        }
    }
}

impl World {
    fn new(case: &Value) -> Self {
        let mut run = PipelineRun::new(Group::Ergon, "run");
        run.metadata.namespace = Some("default".to_owned());
        run.metadata.uid = Some("uid-run".to_owned());
        run.spec = serde_json::from_value(case["run"].clone()).unwrap();
        if let Some(group) = case["group"].as_str() {
            run.api_version = format!("{group}/v1");
        }
        if let Some(metadata) = case["metadata"].as_object() {
            let metadata: ObjectMeta = serde_json::from_value(json!(metadata)).unwrap();
            run.metadata.labels = metadata.labels;
            run.metadata.annotations = metadata.annotations;
        }
        let ancestors = case["ancestors"].as_array().cloned().unwrap_or_default();
        Self {
            run,
            children: Vec::new(),
            ancestors: ancestors.into_iter().map(|run| serde_json::from_value(run).unwrap()).collect(),
            specs: case.clone(),
            library: Library::default(),
            config: crate::config(case),
            outcomes: case["outcomes"].clone(),
            now: Timestamp::from_second(1_700_000_000).unwrap(),
            log: Vec::new(),
        }
    }

    /// One decision and its actions. True where anything changed.
    fn step(&mut self) -> bool {
        let decision = loop {
            let (mut task_runs, mut custom_runs, mut pipeline_runs) = (Vec::new(), Vec::new(), Vec::new());
            for child in &self.children {
                match child {
                    Object::Task(run) => task_runs.push(run),
                    Object::Custom(run) => custom_runs.push(run),
                    Object::Pipeline(run) => pipeline_runs.push(run),
                }
            }
            let ancestors: Vec<&PipelineRun> = self.ancestors.iter().collect();
            let observed = Observed {
                group: self.run.group(),
                run: &self.run,
                children: Children {
                    task_runs: &task_runs,
                    custom_runs: &custom_runs,
                    pipeline_runs: &pipeline_runs,
                },
                ancestors: &ancestors,
                library: &self.library,
                config: &self.config,
                plan: None,
                sharing: None,
            };
            let outcome = reconcile(&observed, self.now);
            self.check_plans(&observed, &outcome);
            match outcome {
                Outcome::Decided(decision) => break decision,
                Outcome::Needs(needs) => {
                    for need in needs {
                        self.look_up(&need);
                    }
                }
            }
        };
        let mut changed = self.run.status.as_ref() != Some(&decision.status);
        self.run.status = Some(decision.status);
        for action in decision.actions {
            changed |= !matches!(action, Action::Emit(_));
            self.perform(action);
        }
        changed
    }

    /// A plan that is kept changes no decision, and neither does one of another pipeline.
    fn check_plans(&self, observed: &Observed<'_>, outcome: &Outcome<PipelineRunStatus>) {
        let own = self.run.status.as_ref().and_then(|status| status.pipeline_spec.clone());
        let other: PipelineSpec = serde_json::from_value(
            json!({"tasks": [{"name": "other", "taskSpec": {"steps": [{"image": "i"}]}}]}),
        )
        .unwrap();
        for spec in own.into_iter().chain([Arc::new(other)]) {
            // As it comes from the API server: equal, and not the same.
            let spec: PipelineSpec = serde_json::from_value(serde_json::to_value(&*spec).unwrap()).unwrap();
            let Ok(plan) = Plan::of(Arc::new(spec)) else { continue };
            let planned = Observed { plan: Some(&Arc::new(plan)), ..*observed };
            assert_eq!(reconcile(&planned, self.now), *outcome);
        }
    }

    fn look_up(&mut self, need: &Need) {
        match need {
            Need::Task(name) => {
                let spec = serde_json::from_value(self.specs["tasks"][name].clone()).ok();
                let task = spec.map(|spec| Task { spec, ..Task::new(self.run.group(), name) });
                assert!(
                    self.library.tasks.insert(name.clone(), task).is_none(),
                    "{name} was asked for twice"
                );
            }
            Need::Pipeline(name) => {
                let spec = serde_json::from_value(self.specs["pipelines"][name].clone()).ok();
                let pipeline = spec.map(|spec| Pipeline { spec, ..Pipeline::new(self.run.group(), name) });
                assert!(self.library.pipelines.insert(name.clone(), pipeline).is_none());
            }
            Need::Remote(request) => {
                self.log.push(crate::remote::told(request));
                let answer = crate::remote::answer(&self.specs["remote"], request);
                assert!(self.library.remote.insert(request.clone(), answer).is_none());
            }
            other => panic!("a pipeline run has no need for {other:?}"),
        }
    }

    fn perform(&mut self, action: Action) {
        match action {
            Action::CreateTaskRun(child) => self.create(Object::Task(*child)),
            Action::CreateCustomRun(child) => self.create(Object::Custom(*child)),
            Action::CreatePipelineRun(child) => self.create(Object::Pipeline(*child)),
            Action::StopTaskRun { name, status, message, .. } => {
                assert!(message.starts_with("TaskRun cancelled as the PipelineRun it belongs to "));
                let Object::Task(child) = self.told(&name) else { panic!("{name} is no task run") };
                child.spec.status = Some(status);
            }
            Action::StopCustomRun { name, message, .. } => {
                assert!(message.starts_with("CustomRun cancelled as the PipelineRun it belongs to "));
                let Object::Custom(child) = self.told(&name) else { panic!("{name} is no custom run") };
                child.spec.status = Some(CustomRunSpecStatus::Cancelled);
            }
            Action::StopPipelineRun { name, status, .. } => {
                let Object::Pipeline(child) = self.told(&name) else { panic!("{name} is no pipeline run") };
                child.spec.status = Some(status);
            }
            Action::CreateClaim(claim) => {
                self.log.push(format!("claim {}", claim.metadata.name.as_deref().unwrap_or_default()));
            }
            Action::DeleteClaim { name } => self.log.push(format!("delete claim {name}")),
            Action::AddMetadata { labels, annotations } => {
                self.run.metadata.labels.get_or_insert_default().extend(labels);
                self.run.metadata.annotations.get_or_insert_default().extend(annotations);
            }
            Action::Emit(event) => self.log.push(format!("event {}", event.reason)),
            other => panic!("not an action of a pipeline run: {other:?}"),
        }
    }

    fn create(&mut self, mut child: Object) {
        let (params, name): (&[Param], String) = match &child {
            Object::Task(run) => (&run.spec.params, run.name().to_owned()),
            Object::Custom(run) => (&run.spec.params, format!("custom {}", run.name())),
            Object::Pipeline(run) => (&run.spec.params, format!("pipeline {}", run.name())),
        };
        let params: Vec<String> =
            params.iter().map(|param| format!(" {}={}", param.name, param.value)).collect();
        self.log.push(format!("create {name}{}", params.concat()));
        let name = child.child().name().to_owned();
        assert!(!self.children.iter().any(|known| known.child().name() == name), "created twice");
        child.metadata().uid = Some(format!("uid-{name}"));
        self.children.push(child);
    }

    fn told(&mut self, name: &str) -> &mut Object {
        self.log.push(format!("stop {name}"));
        self.children.iter_mut().find(|child| child.child().name() == name).unwrap()
    }

    /// Ends the next child that is due; false where none is.
    fn end_one(&mut self) -> bool {
        let Some(at) = self.children.iter().position(|object| {
            let child = object.child();
            !child.is_done() && (object.is_told() || self.outcomes[child.name()] != json!("running"))
        }) else {
            return false;
        };
        let object = &mut self.children[at];
        let name = object.child().name().to_owned();
        let outcome = &self.outcomes[&name];
        let (status, reason) = if object.is_told() {
            let reason = match object {
                Object::Task(_) => "TaskRunCancelled",
                Object::Custom(_) => "CustomRunCancelled",
                Object::Pipeline(_) => "Cancelled",
            };
            (ConditionStatus::False, reason)
        } else if let Some(reason) = outcome["failed"].as_str() {
            (ConditionStatus::False, reason)
        } else {
            (ConditionStatus::True, "Succeeded")
        };
        let results: Vec<Value> = outcome["results"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| json!({"name": name, "value": value}))
            .collect();
        object.end(
            &Condition::succeeded(status, reason, reason),
            &json!(results),
            &outcome["artifacts"],
            self.now,
        );
        self.log.push(format!("ended {name} {reason}"));
        true
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            if !self.step() {
                return;
            }
        }
        panic!("the run does not come to rest:\n{}", self.log.join("\n"));
    }
}

/// A run whose matrix has 3,000 legs.
fn large() -> World {
    let numbers = |count: usize| -> Vec<String> { (0..count).map(|number| number.to_string()).collect() };
    let task = json!({"params": [{"name": "a"}, {"name": "b"}], "steps": [{"image": "i"}]});
    let one = json!({"steps": [{"image": "i"}]});
    let mut world = World::new(&json!({
        "run": {"pipelineSpec": {
            "tasks": [
                {"name": "one", "taskSpec": one},
                {"name": "each", "taskSpec": task, "matrix": {"params": [
                    {"name": "a", "value": numbers(60)}, {"name": "b", "value": numbers(50)},
                ]}},
            ],
            "finally": [{"name": "last", "params": [{"name": "how", "value": "$(tasks.each.status)"}],
                "taskSpec": {"params": [{"name": "how"}], "steps": [{"image": "i"}]}}],
        }},
    }));
    world.config.defaults.max_matrix_combinations = 3000;
    world
}

fn count_of(world: &World) -> Value {
    let status = serde_json::to_value(&world.run.status).unwrap();
    assert!(status.to_string().len() < 10_000, "{status:#}");
    let listed = status["childReferences"].as_array().unwrap();
    assert!(listed.iter().all(|child| child["pipelineTaskName"] != "each"), "{status:#}");
    assert_eq!(status["childCounts"].as_array().unwrap().len(), 1);
    status["childCounts"][0].clone()
}

#[test]
fn runs_of_large_matrices_are_made_in_portions_and_counted() {
    let mut world = large();
    for made in [512, 1024] {
        world.step();
        assert_eq!(world.children.len(), made);
    }
    world.settle();
    let of = |rest: Value| {
        let mut all = json!({"pipelineTaskName": "each", "kind": "TaskRun", "total": 3000});
        json_patch::merge(&mut all, &rest);
        all
    };
    assert_eq!(count_of(&world), of(json!({"running": 3000})));
    world.outcomes["run-each-7"] = json!({"failed": "Failed"});
    for _ in 0..2001 {
        world.end_one();
    }
    world.settle();
    assert_eq!(count_of(&world), of(json!({"running": 1000, "succeeded": 1999, "failed": 1})));
    while world.end_one() {}
    world.settle();
    while world.end_one() {
        world.settle();
    }
    assert_eq!(count_of(&world), of(json!({"succeeded": 2999, "failed": 1})));
    let condition = world.run.status.as_ref().and_then(PipelineRunStatus::condition).cloned().unwrap();
    assert_eq!(condition.reason(), "Failed", "{condition:?}");
}

#[test]
fn a_large_matrix_that_is_ended_early_is_never_told_as_succeeded() {
    for (wish, made, counts) in [
        ("CancelledRunFinally", 511, json!({"cancelled": 511})),
        ("Cancelled", 511, json!({"running": 511})),
        ("StoppedRunFinally", 3000, json!({"succeeded": 3000})),
    ] {
        let mut world = large();
        world.step();
        world.run.spec.status = Some(serde_json::from_value(json!(wish)).unwrap());
        for _ in 0..10 {
            world.settle();
            while world.end_one() {}
        }
        let count = count_of(&world);
        for (what, number) in counts.as_object().unwrap() {
            assert_eq!(&count[what], number, "{wish}: {count}");
        }
        let is_leg = |child: &&Object| child.child().name().starts_with("run-each");
        assert_eq!(world.children.iter().filter(is_leg).count(), made, "{wish}");
        assert!(world.run.is_done());
        let told = world.log.iter().filter(|line| line.starts_with("create run-last")).cloned();
        let told: Vec<String> = told.collect();
        match wish {
            "CancelledRunFinally" => assert_eq!(told, ["create run-last how=Failed"]),
            "Cancelled" => assert!(told.is_empty()),
            _ => assert_eq!(told, ["create run-last how=Succeeded"]),
        }
        assert!(!world.run.is_successful() || wish == "StoppedRunFinally", "{wish}");
    }
}

#[test]
fn every_case_ends_as_it_says() {
    let mut problems = Vec::new();
    for (name, case) in crate::cases("runs") {
        let mut world = World::new(&case);
        world.settle();
        let mut events = case["then"].as_array().cloned().unwrap_or_default().into_iter();
        loop {
            if world.end_one() {
                world.settle();
                continue;
            }
            // Nothing ends by itself any more: the case goes on with its next event.
            let Some(event) = events.next() else { break };
            if let Some(seconds) = event["after"].as_i64() {
                world.now = world.now.checked_add(SignedDuration::from_secs(seconds)).unwrap();
            }
            if let Some(status) = event["status"].as_str() {
                world.run.spec.status = Some(serde_json::from_value(json!(status)).unwrap());
            }
            if let Some(outcomes) = event["outcomes"].as_object() {
                for (task, outcome) in outcomes {
                    world.outcomes[task] = outcome.clone();
                }
            }
            if event["remote"].is_object() {
                json_patch::merge(&mut world.specs["remote"], &event["remote"]);
                world.library.remote.clear();
            }
            world.settle();
        }
        let status = world.run.status.clone().unwrap();
        let condition = status.condition().cloned().unwrap_or_default();
        let skipped: BTreeMap<&str, &str> =
            status.skipped_tasks.iter().map(|task| (task.name.as_str(), task.reason.as_str())).collect();
        let results: BTreeMap<&str, Value> = status
            .results
            .iter()
            .map(|result| (result.name.as_str(), serde_json::to_value(&result.value).unwrap()))
            .collect();
        let children: Vec<&str> = status.child_references.iter().map(|child| child.name.as_str()).collect();
        let references: BTreeMap<&str, &ergon_api::ChildStatusReference> =
            status.child_references.iter().map(|child| (child.name.as_str(), child)).collect();
        let made: BTreeMap<&str, Value> = world
            .children
            .iter()
            .map(|object| {
                let value = match object {
                    Object::Task(run) => serde_json::to_value(run),
                    Object::Custom(run) => serde_json::to_value(run),
                    Object::Pipeline(run) => serde_json::to_value(run),
                };
                (object.child().name(), value.unwrap())
            })
            .collect();
        let found = json!({
            "status": condition.status, "reason": condition.reason(), "message": condition.message(),
            "labels": world.run.metadata.labels, "annotations": world.run.metadata.annotations,
            "provenance": status.provenance,
            "skipped": skipped, "results": results, "children": children, "log": world.log,
            "done": world.run.is_done(), "references": references, "made": made,
        });
        crate::compare(&name, "", &case["expect"], &found, &mut problems);
        if world.run.is_done() {
            assert!(status.completion_time.is_some(), "{name}: done without a completion time");
            assert!(
                world.children.iter().all(|child| child.child().is_done() || child.is_told()),
                "{name}: a child is left running"
            );
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Whatever is lost between two decisions, the end is the same: a second controller that starts from what is there.
#[test]
fn a_crash_between_any_two_actions_changes_nothing() {
    for (name, case) in crate::cases("runs") {
        let mut world = World::new(&case);
        world.settle();
        let names = |world: &World| -> Vec<String> {
            world.children.iter().map(|child| child.child().name().to_owned()).collect()
        };
        let whole = names(&world);
        for kept in 0..=whole.len() {
            let mut crashed = World::new(&case);
            crashed.settle();
            // The status was never written, and only the first children were created.
            crashed.run.status = None;
            crashed.children.truncate(kept);
            crashed.settle();
            let again = names(&crashed);
            let sorted = |mut names: Vec<String>| {
                names.sort();
                names
            };
            assert_eq!(sorted(again), sorted(whole.clone()), "{name}, crashed after {kept}");
        }
    }
}
