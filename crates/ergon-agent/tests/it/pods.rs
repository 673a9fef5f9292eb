//! Pods without containers: the agent's loop in this process, each shim a process of its own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ergon_agent::{End, carry_out, now};
use ergon_engine::coordinate::{Event, StepId};
use ergon_wire::{
    Exit, ExitRecord, FromShim, OnError, PLAN_VERSION, PodPlan, PodReport, Script, StepPlan, StepResult,
    StepState, StopReason, TaskPlan, TerminationMessage, read_frame, write_frame,
};
use tempfile::TempDir;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

/// A test that waits longer fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// One pod: its directory, its agent, and the shims that were started in it.
pub(crate) struct Pod {
    directory: TempDir,
    plan: PodPlan,
    reports: watch::Receiver<PodReport>,
    events: mpsc::UnboundedSender<Event>,
    agent: JoinHandle<End>,
    shims: Vec<Child>,
}

impl Pod {
    /// Starts the agent for steps `0`, `1`, … with these scripts.
    fn new(scripts: &[(&str, OnError)]) -> Self {
        Self::beside(scripts, Vec::new())
    }

    /// The same with sidecars `0`, `1`, … beside the steps.
    fn beside(scripts: &[(&str, OnError)], sidecars: Vec<StepPlan>) -> Self {
        Self::with(scripts, sidecars, false)
    }

    /// All steps run in the container of the first one.
    fn together(scripts: &[(&str, OnError)]) -> Self {
        Self::with(scripts, Vec::new(), true)
    }

    fn with(scripts: &[(&str, OnError)], sidecars: Vec<StepPlan>, together: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let steps = scripts.iter().enumerate().map(|(step, (script, on_error))| StepPlan {
            container: format!("step-{step}"),
            runs_in: (together && step > 0).then(|| "step-0".to_owned()),
            argv: Vec::new(),
            script: Some(Script {
                text: format!("#!/bin/sh\nset -e\ncd {}\n{script}", at("")),
                path: None,
                ..Default::default()
            }),
            on_error: *on_error,
            results_dir: at("results"),
            step_dir: at(&format!("steps/step-{step}")),
            message_limit: 4096,
            result_limit: 1000,
            grace_ms: 20_000,
            ..Default::default()
        });
        let sidecars = sidecars.into_iter().enumerate().map(|(sidecar, plan)| StepPlan {
            container: format!("sidecar-{sidecar}"),
            working_dir: Some(at("")),
            is_sidecar: true,
            grace_ms: 20_000,
            ..plan
        });
        let sidecars = sidecars.collect();
        let task = TaskPlan {
            name: "task".to_owned(),
            retry: 0,
            steps: steps.collect(),
            sidecars,
            results: vec!["digest".to_owned()],
        };
        let plan = PodPlan { version: PLAN_VERSION, tasks: vec![task], ..Default::default() };
        Self::start_agent(directory, plan)
    }

    /// Starts the agent for a plan whose folders are below the given one.
    pub(crate) fn of(plan: impl FnOnce(&str) -> PodPlan) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let plan = plan(directory.path().to_str().unwrap());
        Self::start_agent(directory, plan)
    }

    fn start_agent(directory: TempDir, plan: PodPlan) -> Self {
        let (reports_in, reports) = watch::channel(PodReport::default());
        let (events, outside) = mpsc::unbounded_channel();
        let (carried, run_dir) = (plan.clone(), directory.path().join("run"));
        let agent =
            tokio::spawn(async move { carry_out(&carried, &run_dir, &reports_in, outside).await.unwrap() });
        Self { directory, plan, reports, events, agent, shims: Vec::new() }
    }

    /// The pod's directory, which stays after the pod's end.
    pub(crate) fn keep(&mut self) -> TempDir {
        std::mem::replace(&mut self.directory, tempfile::tempdir().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts the shim of a step, as the kubelet starts its container.
    fn shim(&mut self, step: usize) {
        self.start(&format!("step-{step}"), &format!("message-{step}"));
    }

    pub(crate) fn shim_of(&mut self, container: &str) {
        self.start(container, &format!("message-{container}"));
    }

    fn sidecar(&mut self, sidecar: usize) {
        self.start(&format!("sidecar-{sidecar}"), &format!("message-sidecar-{sidecar}"));
    }

    fn start(&mut self, container: &str, message: &str) {
        let run_dir = self.path(&format!("run/{container}"));
        // The kubelet has the mount's directory there before the container.
        std::fs::create_dir_all(&run_dir).unwrap();
        let shim = std::env::current_exe().unwrap().parent().unwrap().join("../examples/shim");
        let child = Command::new(&shim)
            .arg("--run-dir")
            .arg(run_dir)
            .env("ERGON_TERMINATION_MESSAGE", self.path(message))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}: run all targets of this crate", shim.display()));
        self.shims.push(child);
    }

    async fn until(&mut self, holds: impl FnMut(&PodReport) -> bool) {
        tokio::time::timeout(PATIENCE, self.reports.wait_for(holds)).await.unwrap().unwrap();
    }

    async fn until_it_runs(&mut self, step: usize) {
        self.until(|report| {
            report.steps.get(step).is_some_and(|step| matches!(step.state, StepState::Running { .. }))
        })
        .await;
    }

    /// Waits for the agent and all shims; gives the records and the shims' exit codes.
    pub(crate) async fn finish(mut self) -> (Vec<ExitRecord>, Vec<Option<i32>>) {
        let End { report, failed } = tokio::time::timeout(PATIENCE, self.agent).await.unwrap().unwrap();
        assert!(report.done);
        assert_eq!(*self.reports.borrow(), report, "the last report was handed over");
        let codes = self.shims.iter_mut().map(|shim| shim.wait().unwrap().code()).collect();
        let well = |step: &StepState| matches!(step, StepState::Ended { record } if record.exit == Exit::Exited { code: 0 });
        assert_eq!(failed, !report.steps.iter().all(|step| well(&step.state)));
        let names: Vec<_> = self.plan.tasks[0].steps.iter().map(|step| step.container.clone()).collect();
        let mut records = Vec::new();
        for (step, name) in report.steps.into_iter().zip(names) {
            assert_eq!(step.container, name);
            let StepState::Ended { record } = step.state else { panic!("{step:?}") };
            records.push(record);
        }
        (records, codes)
    }
}

fn sidecar(script: &str) -> StepPlan {
    let script = Script { text: format!("#!/bin/sh\n{script}"), path: None, ..Default::default() };
    StepPlan { script: Some(script), ..Default::default() }
}

fn exits(records: &[ExitRecord]) -> Vec<&Exit> {
    records.iter().map(|record| &record.exit).collect()
}

const STOP: OnError = OnError::StopAndFail;

#[tokio::test]
async fn two_steps_run_in_order_whatever_the_order_of_their_containers() {
    let mut pod = Pod::new(&[
        ("echo one >> order; printf 1 > results/digest", STOP),
        ("echo two >> order; cp results/digest copy", STOP),
    ]);
    pod.shim(1);
    pod.shim(0);
    let directory = pod.path("");
    let message = pod.path("message-0");
    let order = pod.path("order");
    // The directory has to live until the files are read.
    let kept = std::mem::replace(&mut pod.directory, tempfile::tempdir().unwrap());
    let (records, codes) = pod.finish().await;
    let success = Exit::Exited { code: 0 };
    assert_eq!(exits(&records), [&success, &success], "{}", directory.display());
    assert_eq!(codes, [Some(0), Some(0)]);
    assert_eq!(std::fs::read_to_string(order).unwrap(), "one\ntwo\n");
    assert_eq!(records[0].results, [StepResult { name: "digest".into(), value: "1".into() }]);
    assert_eq!(records[1].results, []);
    assert!(records[0].finished_at <= records[1].started_at.unwrap());
    let message = TerminationMessage::decode(&std::fs::read_to_string(message).unwrap()).unwrap();
    assert_eq!(message.record, records[0]);
    drop(kept);
}

#[tokio::test]
async fn steps_of_one_container_run_one_after_another() {
    let mut pod = Pod::together(&[
        ("sleep 1000 & printf 1 > results/digest", STOP),
        ("test -z \"$(ls steps/step-1/results)\"", STOP),
    ]);
    pod.shim(0);
    let message = pod.path("message-0");
    let kept = std::mem::replace(&mut pod.directory, tempfile::tempdir().unwrap());
    let (records, codes) = pod.finish().await;
    let success = Exit::Exited { code: 0 };
    assert_eq!(exits(&records), [&success, &success]);
    assert_eq!(records[0].results, [StepResult { name: "digest".into(), value: "1".into() }]);
    assert_eq!(codes, [Some(0)]);
    let left: Vec<_> = TerminationMessage::decode_all(&std::fs::read_to_string(message).unwrap())
        .map(|message| (message.step.unwrap(), message.record))
        .collect();
    assert_eq!(left, [("step-0".to_owned(), records[0].clone()), ("step-1".to_owned(), records[1].clone())]);
    drop(kept);
}

#[tokio::test]
async fn a_failure_or_a_killed_shim_ends_all_steps_of_its_container() {
    let mut pod = Pod::together(&[("exit 3", STOP), ("touch ran", STOP)]);
    pod.shim(0);
    let (records, codes) = pod.finish().await;
    assert_eq!(exits(&records), [&Exit::Exited { code: 3 }, &Exit::Skipped]);
    assert_eq!(codes, [Some(3)]);

    let mut pod = Pod::together(&[("sleep 1000", STOP), ("touch ran", STOP), ("touch ran", STOP)]);
    pod.shim(0);
    pod.until_it_runs(0).await;
    pod.shims[0].kill().unwrap();
    let (records, _) = pod.finish().await;
    assert!(matches!(records[0].exit, Exit::Interrupted { .. }), "{records:?}");
    assert_eq!(exits(&records)[1..], [&Exit::Skipped, &Exit::Skipped]);
}

#[tokio::test]
async fn after_a_failure_a_container_that_comes_late_is_told() {
    let mut pod = Pod::new(&[("exit 5", OnError::Continue), ("exit 3", STOP), ("touch ran", STOP)]);
    pod.shim(0);
    pod.shim(1);
    pod.until(|report| report.done).await;
    assert!(!pod.agent.is_finished(), "the agent waits for the third container");
    pod.shim(2);
    let ran = pod.path("ran");
    let (records, codes) = pod.finish().await;
    assert_eq!(exits(&records), [&Exit::Exited { code: 5 }, &Exit::Exited { code: 3 }, &Exit::Skipped]);
    assert_eq!(codes, [Some(0), Some(3), Some(1)]);
    assert!(!ran.exists());
}

#[tokio::test]
async fn a_stop_ends_the_step_that_runs() {
    let mut pod = Pod::new(&[("trap 'exit 0' TERM; sleep 1000 & wait", STOP), ("touch ran", STOP)]);
    pod.shim(0);
    pod.shim(1);
    pod.until_it_runs(0).await;
    pod.events.send(Event::Stop { reason: StopReason::Cancelled, at: now() }).unwrap();
    let (records, codes) = pod.finish().await;
    assert_eq!(exits(&records), [&Exit::Cancelled, &Exit::Skipped]);
    assert_eq!(codes, [Some(143), Some(1)]);
}

#[tokio::test]
async fn a_killed_shim_is_an_interrupted_step() {
    let mut pod = Pod::new(&[("exec sleep 1000", STOP), ("touch ran", STOP)]);
    pod.shim(0);
    pod.shim(1);
    pod.until_it_runs(0).await;
    pod.shims[0].kill().unwrap();
    let (records, codes) = pod.finish().await;
    let message = "its container ended before the end of its command was reported".to_owned();
    assert_eq!(exits(&records), [&Exit::Interrupted { message }, &Exit::Skipped]);
    assert_eq!(codes, [None, Some(1)]);
}

#[tokio::test]
async fn a_container_that_never_came_is_told_by_the_shell() {
    let mut pod = Pod::new(&[("true", STOP), ("true", STOP)]);
    let exit = Exit::NotStarted { message: "no such image".to_owned() };
    let record = ExitRecord::bare(exit.clone(), None, now());
    pod.events.send(Event::Ended { id: StepId { task: 0, step: 0 }, record }).unwrap();
    pod.shim(1);
    let (records, _) = pod.finish().await;
    assert_eq!(exits(&records), [&exit, &Exit::Skipped]);
}

#[tokio::test]
async fn nobody_speaks_for_a_step_that_has_its_shim() {
    let mut pod = Pod::new(&[("read line < gate; test \"$line\" = go", STOP)]);
    nix::unistd::mkfifo(&pod.path("gate"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    pod.shim(0);
    pod.until_it_runs(0).await;
    let mut liar = std::os::unix::net::UnixStream::connect(pod.path("run/step-0/agent.sock")).unwrap();
    liar.set_read_timeout(Some(PATIENCE)).unwrap();
    let refused = tokio::task::spawn_blocking(move || {
        write_frame(&mut liar, &FromShim::Hello).unwrap();
        read_frame::<FromShim>(&mut liar).unwrap()
    });
    assert_eq!(refused.await.unwrap(), None);
    // The step itself has noticed nothing.
    let gate = pod.path("gate");
    tokio::task::spawn_blocking(move || std::fs::write(gate, "go\n").unwrap()).await.unwrap();
    let (records, _) = pod.finish().await;
    assert_eq!(exits(&records), [&Exit::Exited { code: 0 }]);
}

#[tokio::test]
async fn sidecars_are_there_before_the_first_step_and_end_after_the_last() {
    let mut pod = Pod::beside(
        &[("read line < gate; echo $line >> order", STOP), ("test ! -e ended; echo step >> order", STOP)],
        vec![
            sidecar(
                "trap 'touch ended; echo sidecar >> order; exit 3' TERM; echo served > gate; sleep 1000 & wait",
            ),
            sidecar("exit 7"),
        ],
    );
    nix::unistd::mkfifo(&pod.path("gate"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    pod.shim(0);
    pod.shim(1);
    pod.sidecar(1);
    while pod.shims[2].try_wait().unwrap().is_none() {
        tokio::task::yield_now().await;
    }
    pod.sidecar(0);
    let order = pod.path("order");
    let messages = [pod.path("message-sidecar-0"), pod.path("message-sidecar-1")];
    let kept = std::mem::replace(&mut pod.directory, tempfile::tempdir().unwrap());
    let (records, codes) = pod.finish().await;
    let success = Exit::Exited { code: 0 };
    assert_eq!(exits(&records), [&success, &success]);
    // Who is ended because it is time to has not failed; who ended alone has its own code.
    assert_eq!(codes, [Some(0), Some(0), Some(7), Some(0)]);
    assert_eq!(std::fs::read_to_string(order).unwrap(), "served\nstep\nsidecar\n");
    assert!(messages.iter().all(|message| !message.exists()), "their last words are their own");
    drop(kept);
}

#[tokio::test]
async fn a_sidecar_that_cannot_start_says_why_and_holds_nothing_up() {
    let argv = vec!["/no/such/program".to_owned()];
    let mut pod = Pod::beside(&[("exit 2", STOP)], vec![StepPlan { argv, ..Default::default() }]);
    pod.shim(0);
    pod.sidecar(0);
    let message = pod.path("message-sidecar-0");
    let kept = std::mem::replace(&mut pod.directory, tempfile::tempdir().unwrap());
    let (records, codes) = pod.finish().await;
    assert_eq!(exits(&records), [&Exit::Exited { code: 2 }]);
    assert_eq!(codes, [Some(2), Some(127)]);
    assert_eq!(std::fs::read_to_string(message).unwrap(), "`/no/such/program` is not in the image");
    drop(kept);
}
