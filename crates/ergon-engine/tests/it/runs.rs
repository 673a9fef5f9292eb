//! Pipeline runs: each case is carried to its end with tasks that end as the case says.

use std::collections::BTreeMap;

use ergon_api::{
    Condition, ConditionStatus, Config, Group, Pipeline, PipelineRun, Task, TaskRun, TaskRunSpecStatus,
};
use ergon_engine::run::{Observed, reconcile};
use ergon_engine::{Action, Library, Need, Outcome};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

/// A run in a world where nothing is done but what the case says.
struct World {
    run: PipelineRun,
    children: Vec<TaskRun>,
    specs: Value,
    library: Library,
    config: Config,
    outcomes: Value,
    now: Timestamp,
    log: Vec<String>,
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
        Self {
            run,
            children: Vec::new(),
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
            let children: Vec<&TaskRun> = self.children.iter().collect();
            let observed = Observed {
                group: self.run.group(),
                run: &self.run,
                children: &children,
                library: &self.library,
                config: &self.config,
            };
            match reconcile(&observed, self.now) {
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
            Action::CreateTaskRun(child) => {
                let params: Vec<String> = child
                    .spec
                    .params
                    .iter()
                    .map(|param| format!(" {}={}", param.name, param.value))
                    .collect();
                self.log.push(format!("create {}{}", child.name(), params.concat()));
                assert!(!self.children.iter().any(|known| known.name() == child.name()), "created twice");
                let mut child = *child;
                child.metadata.uid = Some(format!("uid-{}", child.name()));
                self.children.push(child);
            }
            Action::StopTaskRun { name, .. } => {
                self.log.push(format!("stop {name}"));
                let child = self.children.iter_mut().find(|child| child.name() == name).unwrap();
                child.spec.status = Some(TaskRunSpecStatus::Cancelled);
            }
            Action::CreateClaim(claim) => {
                self.log.push(format!("claim {}", claim.metadata.name.as_deref().unwrap_or_default()));
            }
            Action::AddMetadata { labels, annotations } => {
                self.run.metadata.labels.get_or_insert_default().extend(labels);
                self.run.metadata.annotations.get_or_insert_default().extend(annotations);
            }
            Action::Emit(event) => self.log.push(format!("event {}", event.reason)),
            other => panic!("not an action of a pipeline run: {other:?}"),
        }
    }

    /// Ends the next child that is due; false where none is.
    fn end_one(&mut self) -> bool {
        let Some(at) = self.children.iter().position(|child| {
            let stopped = child.spec.status.is_some();
            !child.is_done() && (stopped || self.outcomes[child.name()] != json!("running"))
        }) else {
            return false;
        };
        let child = &mut self.children[at];
        let outcome = &self.outcomes[child.name()];
        let (status, reason) = if child.spec.status.is_some() {
            (ConditionStatus::False, "TaskRunCancelled")
        } else if let Some(reason) = outcome["failed"].as_str() {
            (ConditionStatus::False, reason)
        } else {
            (ConditionStatus::True, "Succeeded")
        };
        let mut state = child.status.clone().unwrap_or_default();
        state.set_condition(Condition::succeeded(status, reason, reason), Time(self.now));
        if let Some(results) = outcome["results"].as_object() {
            state.results = results
                .iter()
                .map(|(name, value)| serde_json::from_value(json!({"name": name, "value": value})).unwrap())
                .collect();
        }
        state.artifacts = serde_json::from_value(outcome["artifacts"].clone()).unwrap();
        child.status = Some(state);
        self.log.push(format!("ended {} {reason}", child.name()));
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
        let found = json!({
            "status": condition.status, "reason": condition.reason(), "message": condition.message(),
            "labels": world.run.metadata.labels, "annotations": world.run.metadata.annotations,
            "provenance": status.provenance,
            "skipped": skipped, "results": results, "children": children, "log": world.log,
            "done": world.run.is_done(),
        });
        crate::compare(&name, "", &case["expect"], &found, &mut problems);
        if world.run.is_done() {
            assert!(status.completion_time.is_some(), "{name}: done without a completion time");
            assert!(
                world.children.iter().all(|child| child.is_done() || child.spec.status.is_some()),
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
        let whole: Vec<String> = world.children.iter().map(|child| child.name().to_owned()).collect();
        for kept in 0..=whole.len() {
            let mut crashed = World::new(&case);
            crashed.settle();
            // The status was never written, and only the first children were created.
            crashed.run.status = None;
            crashed.children.truncate(kept);
            crashed.settle();
            let again: Vec<String> = crashed.children.iter().map(|child| child.name().to_owned()).collect();
            let sorted = |mut names: Vec<String>| {
                names.sort();
                names
            };
            assert_eq!(sorted(again), sorted(whole.clone()), "{name}, crashed after {kept}");
        }
    }
}
