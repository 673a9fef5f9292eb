//! A cluster with one run, in memory: pods run what their plans say, as the agent would have them.

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::{Config, Group, PipelineRun, Task, TaskRun, TaskRunStatus};
use ergon_engine::coordinate::{Command, Event, PodState, StepId};
use ergon_engine::fuse::{SHARED_LABEL, SharedPod, Sharing, ahead_pods, made_with, orders};
use ergon_engine::pod::{Platform, plan_of};
use ergon_engine::run::{self, Children};
use ergon_engine::task::{self, PodSeen, pod_name};
use ergon_engine::{Action, Library, Need, Outcome};
use ergon_wire::{Exit, ExitRecord, ReportTarget, RunCommand, StepResult, StopReason};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::{Value, json};

/// A cluster of one run. Steps are scripts with lines `set RESULT TEXT`, `show VARIABLE RESULT`, `exit CODE`, and
/// `from TRY COUNT`, which fails where the count is less than the try; `put NAME` into the run's claim and `need NAME`
/// there, which fails without it.
pub struct World {
    pub group: Group,
    pub run: PipelineRun,
    pub task_runs: BTreeMap<String, TaskRun>,
    pub pods: BTreeMap<String, Running>,
    pub tasks: BTreeMap<String, Value>,
    pub claims: Vec<String>,
    pub platform: Platform,
    pub shares: bool,
    pub may_make: bool,
    pub now: i64,
    /// Which of the steps that run ends next.
    pub order: Vec<usize>,
    /// After which steps' ends the shared pods are lost, and how many there were.
    pub losses: BTreeSet<usize>,
    pub ended: usize,
    /// After how many of its actions the next decision on the run is cut off, if it has more.
    pub crashes: Vec<usize>,
    /// What is in the claim.
    pub files: BTreeSet<String>,
    pub events: Vec<String>,
    /// Pods whose agents do not get through.
    pub silent: BTreeSet<String>,
}

pub struct Running {
    pub pod: Pod,
    pub state: PodState,
    pub steps: Vec<(StepId, RunCommand)>,
    /// What is in the folder that takes the claim's place, if one does.
    pub files: Option<BTreeSet<String>>,
}

impl World {
    pub fn new(spec: Value, tasks: &Value, shares: bool, order: Vec<usize>) -> Self {
        let mut run = PipelineRun::new(Group::Ergon, "run");
        run.metadata.namespace = Some("ns".into());
        run.metadata.uid = Some("uid-run".into());
        run.metadata.creation_timestamp = Some(Time(Timestamp::from_second(1_700_000_000).unwrap()));
        run.spec = serde_json::from_value(spec).unwrap();
        Self {
            group: Group::Ergon,
            run,
            task_runs: BTreeMap::new(),
            pods: BTreeMap::new(),
            tasks: serde_json::from_value(tasks.clone()).unwrap_or_default(),
            claims: Vec::new(),
            platform: Platform {
                image: "ergon:1".into(),
                image_volumes: true,
                report: Some(ReportTarget { url: "https://controller/v1/report".into(), ca: String::new() }),
            },
            shares,
            may_make: true,
            now: 1_700_000_000_000,
            order,
            losses: BTreeSet::new(),
            ended: 0,
            crashes: Vec::new(),
            files: BTreeSet::new(),
            events: Vec::new(),
            silent: BTreeSet::new(),
        }
    }

    pub fn moment(&self) -> Timestamp {
        Timestamp::from_millisecond(self.now).unwrap()
    }

    /// Until nothing happens any more.
    pub fn play(mut self) -> Self {
        for _ in 0..2000 {
            self.now += 1;
            if !self.decide() && !self.end_a_step() {
                return self;
            }
        }
        panic!("does not come to an end");
    }

    pub fn decide(&mut self) -> bool {
        let mut changed = self.decide_run();
        for name in self.task_runs.keys().cloned().collect::<Vec<_>>() {
            changed |= self.decide_task(&name);
        }
        changed | self.begin()
    }

    /// Tells the pods that wait for it to begin.
    fn begin(&mut self) -> bool {
        let children: Vec<&TaskRun> = self.task_runs.values().collect();
        let mut changed = false;
        for (name, running) in &mut self.pods {
            let Some(waits_for) = running.state.report().waits_for else { continue };
            let answer = orders(self.group, &self.run, &children, name, Some(&waits_for));
            if let Some(with) = answer.begin {
                running.handle(Event::Begin { with, at: self.now }, self.now);
                changed = true;
            }
        }
        changed
    }

    pub fn decide_run(&mut self) -> bool {
        let mut library = Library::default();
        let decision = loop {
            let task_runs: Vec<&TaskRun> = self.task_runs.values().collect();
            let speaks = |(name, _): &(&String, &Running)| !self.silent.contains(*name);
            let pods = self.pods.iter().filter(speaks);
            let reports: BTreeMap<&str, _> =
                pods.map(|(name, pod)| (name.as_str(), pod.state.report())).collect();
            let ahead = ahead_pods(&self.run);
            let made = task_runs.iter().filter_map(|run| made_with(run));
            let waiting = ahead.iter().map(String::as_str).filter(|name| self.pods.contains_key(*name));
            let names: BTreeSet<&str> = made.chain(waiting).collect();
            let pods: Vec<SharedPod<'_>> = names
                .into_iter()
                .map(|name| SharedPod {
                    name,
                    pod: self.pods.get(name).map_or(PodSeen::Gone, |running| PodSeen::Here(&running.pod)),
                    report: reports.get(name),
                })
                .collect();
            let observed = run::Observed {
                group: self.group,
                run: &self.run,
                children: Children { task_runs: &task_runs, custom_runs: &[], pipeline_runs: &[] },
                ancestors: &[],
                library: &library,
                config: &Config::default(),
                plan: None,
                sharing: self.shares.then_some(Sharing {
                    platform: &self.platform,
                    pods: &pods,
                    may_make: self.may_make,
                }),
            };
            match run::reconcile(&observed, self.moment()) {
                Outcome::Decided(decision) => break decision,
                Outcome::Needs(needs) => needs.iter().for_each(|need| self.look_up(need, &mut library)),
            }
        };
        let mut actions = decision.actions;
        if let Some(kept) = self.crashes.pop().filter(|kept| *kept < actions.len()) {
            actions.truncate(kept);
            self.perform(actions);
            return true;
        }
        let changed = self.run.status.as_ref() != Some(&decision.status);
        self.run.status = Some(decision.status);
        self.perform(actions) || changed
    }

    pub fn decide_task(&mut self, name: &str) -> bool {
        let mut library = Library::default();
        let decision = loop {
            let run = &self.task_runs[name];
            let running = self.pods.get(&pod_name(run));
            let report = running.map(|running| running.state.report());
            let observed = task::Observed {
                group: self.group,
                run,
                pod: running.map_or(PodSeen::Gone, |running| PodSeen::Here(&running.pod)),
                report: report.as_ref(),
                library: &library,
                config: &Config::default(),
                platform: &self.platform,
            };
            match task::reconcile(&observed, self.moment()) {
                Outcome::Decided(decision) => break decision,
                Outcome::Needs(needs) => needs.iter().for_each(|need| self.look_up(need, &mut library)),
            }
        };
        let run = self.task_runs.get_mut(name).unwrap();
        let changed = run.status.as_ref() != Some(&decision.status);
        run.status = Some(decision.status);
        self.perform(decision.actions) || changed
    }

    pub fn look_up(&self, need: &Need, library: &mut Library) {
        match need {
            Need::Task(name) => {
                let spec = self.tasks.get(name).cloned().map(|spec| serde_json::from_value(spec).unwrap());
                let task = spec.map(|spec| Task { spec, ..Task::new(self.group, name) });
                library.tasks.insert(name.clone(), task);
            }
            Need::Account(name) => drop(library.accounts.insert(name.clone(), None)),
            Need::LimitRanges => library.limit_ranges = Some(Vec::new()),
            Need::Part(pod) => {
                let plan = plan_of(&self.pods[pod].pod).unwrap();
                library.parts.insert(pod.clone(), ergon_engine::fuse::Part::of(&plan).unwrap().map(Box::new));
            }
            other => panic!("{other:?}"),
        }
    }

    pub fn perform(&mut self, actions: Vec<Action>) -> bool {
        let mut changed = false;
        for action in actions {
            match action {
                Action::CreateTaskRun(mut run) => {
                    run.metadata.uid = Some(format!("uid-{}", run.name()));
                    run.metadata.creation_timestamp = Some(Time(self.moment()));
                    changed |= self.task_runs.insert(run.name().to_owned(), *run).is_none();
                }
                Action::CreatePod(pod) => changed |= self.start(*pod),
                Action::StopTaskRun { name, status, message, .. } => {
                    let run = self.task_runs.get_mut(&name).unwrap();
                    run.spec.status = Some(status);
                    run.spec.status_message = Some(message);
                    changed = true;
                }
                Action::EndPod { name, .. } => {
                    let at = self.now;
                    let running = self.pods.get_mut(&name).unwrap();
                    let commands = running.state.handle(Event::Stop { reason: StopReason::Interrupted, at });
                    changed |= !commands.is_empty();
                    running.steps.clear();
                    running.pod.status.get_or_insert_default().phase = Some("Failed".into());
                }
                Action::CreateClaim(claim) => self.claims.extend(claim.metadata.name),
                Action::Emit(event) => self.events.push(event.message),
                Action::AddMetadata { .. } => {}
                other => panic!("{other:?}"),
            }
        }
        changed
    }

    pub fn start(&mut self, pod: Pod) -> bool {
        let name = pod.metadata.name.clone().unwrap();
        if self.pods.contains_key(&name) {
            return false;
        }
        let plan = plan_of(&pod).unwrap();
        let mut volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let has_folder = volumes.any(|volume| volume.name.starts_with("ws-") && volume.empty_dir.is_some());
        let files = has_folder.then(BTreeSet::new);
        let mut running = Running { pod, state: PodState::new(&plan).unwrap(), steps: Vec::new(), files };
        running.pod.status.get_or_insert_default().phase = Some("Running".into());
        for (task, steps) in plan.tasks.iter().enumerate() {
            for step in 0..steps.steps.len() + steps.sidecars.len() {
                running.handle(Event::Connected { id: StepId { task, step } }, self.now);
            }
        }
        self.pods.insert(name, running);
        true
    }

    /// Ends one step of those that run.
    pub fn end_a_step(&mut self) -> bool {
        let at = self.now;
        let mut busy: Vec<&mut Running> =
            self.pods.values_mut().filter(|pod| !pod.steps.is_empty()).collect();
        let count = busy.len();
        if count == 0 {
            return false;
        }
        let pick = self.order.pop().unwrap_or_default();
        let running = busy.swap_remove(pick % count);
        let which = pick / count % running.steps.len();
        let (id, command) = running.steps.remove(which);
        let files = running.files.as_mut().unwrap_or(&mut self.files);
        let record = carried_out(&command, files, at);
        running.handle(Event::Ended { id, record }, at);
        self.ended += 1;
        if self.losses.contains(&self.ended) {
            self.lose();
        }
        true
    }

    /// Loses the shared pods that are at work: they are gone, or evicted.
    pub fn lose(&mut self) {
        let is_shared =
            |pod: &Pod| pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(SHARED_LABEL));
        let is_over = |running: &Running| {
            let phase = running.pod.status.as_ref().and_then(|status| status.phase.as_deref());
            phase != Some("Running")
        };
        if self.ended.is_multiple_of(2) {
            self.pods.retain(|_, running| !is_shared(&running.pod) || is_over(running));
            return;
        }
        for running in self.pods.values_mut() {
            if is_shared(&running.pod) && !is_over(running) {
                running.steps.clear();
                let status = running.pod.status.get_or_insert_default();
                status.phase = Some("Failed".into());
                status.reason = Some("Evicted".into());
            }
        }
    }
}

impl Running {
    pub fn handle(&mut self, event: Event, at: i64) {
        for command in self.state.handle(event) {
            match command {
                Command::Run { id, command } => {
                    if !command.step.is_sidecar {
                        self.steps.push((id, *command));
                    }
                    self.handle(Event::Started { id, at }, at);
                }
                Command::Skip { id, exit } => {
                    let record = ExitRecord { exit, started_at: None, finished_at: at, ..empty() };
                    self.handle(Event::Ended { id, record }, at);
                }
                Command::Finished => {
                    self.pod.status.get_or_insert_default().phase = Some("Succeeded".into());
                }
                Command::Stop { id, reason: StopReason::Over, .. } => {
                    let record = ExitRecord { exit: Exit::Exited { code: 0 }, finished_at: at, ..empty() };
                    self.handle(Event::Ended { id, record }, at);
                }
                Command::Report | Command::Stop { .. } | Command::Refuse { .. } => {}
            }
        }
    }
}

pub fn empty() -> ExitRecord {
    serde_json::from_value(json!({"exit": {"kind": "skipped"}, "finishedAt": 0})).unwrap()
}

pub fn carried_out(command: &RunCommand, files: &mut BTreeSet<String>, at: i64) -> ExitRecord {
    let (mut results, mut code) = (Vec::new(), 0);
    for line in command.step.script.iter().flat_map(|script| script.text.lines()) {
        let words: Vec<&str> = line.splitn(3, ' ').collect();
        match words.as_slice() {
            ["set", name, text] => results.push(StepResult { name: (*name).into(), value: (*text).into() }),
            ["set", name] => results.push(StepResult { name: (*name).into(), value: String::new() }),
            ["show", variable, name] => {
                let value = command.step.env.iter().find(|(known, _)| known == variable);
                let value = value.map_or("of the container", |(_, value)| value);
                results.push(StepResult { name: (*name).into(), value: value.into() });
            }
            ["from", wanted, count] if count.parse::<u32>().unwrap() < wanted.parse().unwrap() => {
                code = 1;
                break;
            }
            ["put", name] => drop(files.insert((*name).to_owned())),
            ["need", name] if !files.contains(*name) => {
                code = 1;
                break;
            }
            ["exit", given] => code = given.parse().unwrap(),
            _ => {}
        }
    }
    results
        .extend(command.step.argv.iter().map(|word| StepResult { name: "argv".into(), value: word.clone() }));
    let step_results = results.clone();
    let exit = Exit::Exited { code };
    ExitRecord { exit, started_at: Some(at), finished_at: at, results, step_results, ..empty() }
}

/// What users see of one try of a task.
pub fn seen_try(status: &TaskRunStatus) -> Value {
    let steps: Vec<Value> = status
        .steps
        .iter()
        .map(|step| {
            json!([
                step.name,
                step.termination_reason,
                step.terminated.as_ref().map(|end| end.exit_code),
                step.results
            ])
        })
        .collect();
    let condition = status.condition().cloned().unwrap_or_default();
    json!({"condition": [condition.status, condition.reason(), condition.message()], "results": status.results,
        "steps": steps})
}

/// What users see of a run, but for the names of containers and pods and the times.
pub fn seen(world: &World) -> Value {
    let status = world.run.status.clone().unwrap_or_default();
    let runs: BTreeMap<&String, Value> = world
        .task_runs
        .iter()
        .map(|(name, run)| {
            let status = run.status.clone().unwrap_or_default();
            let tries: Vec<Value> = status.retries_status.iter().chain([&status]).map(seen_try).collect();
            (name, json!({"labels": run.metadata.labels, "spec": run.spec, "tries": tries, "taskSpec": status.task_spec}))
        })
        .collect();
    let condition = status.condition().cloned().unwrap_or_default();
    let mut children: Vec<String> = status.child_references.iter().map(|child| child.name.clone()).collect();
    children.sort_unstable();
    json!({"condition": [condition.reason(), condition.message()], "results": status.results,
        "skipped": status.skipped_tasks, "children": children, "runs": runs})
}

pub fn shared_pods(world: &World) -> Vec<&Pod> {
    let is_shared =
        |pod: &&Pod| pod.metadata.labels.as_ref().is_some_and(|labels| labels.contains_key(SHARED_LABEL));
    world.pods.values().map(|running| &running.pod).filter(is_shared).collect()
}
