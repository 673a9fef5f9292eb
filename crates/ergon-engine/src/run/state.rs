//! Where each pipeline task stands, as its runs say.

use std::borrow::Cow;

use ergon_api::{ParamValue, PipelineTask};

use super::Observed;
use super::child::Child;
use super::plan::Plan;
use super::skip::Skip;
use crate::fuse;

/// One pipeline task and what is known of it.
#[derive(Debug, Clone)]
pub struct TaskState<'a> {
    pub task: &'a PipelineTask,
    /// Its runs, in the order of their matrix indices; empty while it has not started.
    pub runs: Vec<Child<'a>>,
    /// Its runs that came before: those of a pipeline that failed and are tried again, and those that were lost with a pod.
    /// A task run has its tries in itself.
    pub earlier: Vec<Child<'a>>,
    /// How many runs it has once all are made: more than one only with a matrix.
    pub expected: usize,
    /// It was ended before all its runs were made: the others never will be.
    pub cut_short: bool,
    /// A step of it was started in a pod that it shares: whatever else holds, it has begun.
    pub has_begun: bool,
    /// Why it will never start.
    pub skip: Option<Skip>,
    /// What it needs and will never get, from a task that ended: it cannot start, and the run fails.
    pub invalid: Option<String>,
}

/// All pipeline tasks of a run, `finally` tasks among them, by their places in the plan.
#[derive(Debug)]
pub struct States<'a> {
    plan: &'a Plan,
    list: Vec<TaskState<'a>>,
}

impl<'a> States<'a> {
    /// The state of all tasks, before anything is skipped.
    pub fn observed(observed: &Observed<'a>, plan: &'a Plan) -> Self {
        let label = observed.group.label("pipelineTask");
        let mut list: Vec<TaskState<'a>> = plan
            .tasks()
            .map(|(_, task)| TaskState {
                task,
                runs: Vec::new(),
                earlier: Vec::new(),
                expected: 1,
                cut_short: false,
                has_begun: false,
                skip: None,
                invalid: None,
            })
            .collect();
        for child in observed.children.iter() {
            if let Some(place) = child.label(&label).and_then(|task| plan.place(task)) {
                list[place].runs.push(child);
            }
        }
        for state in list.iter_mut().filter(|state| state.runs.len() > 1) {
            state.runs.sort_by_cached_key(|run| (run.matrix_leg(), run.name().to_owned()));
        }
        for state in &mut list {
            if state.task.is_pipeline() { state.retry() } else { state.leave_out_lost() }
        }
        Self { plan, list }
    }

    pub fn plan(&self) -> &'a Plan {
        self.plan
    }

    /// By the task's place.
    pub fn at(&self, place: usize) -> &TaskState<'a> {
        &self.list[place]
    }

    /// By the task's place.
    pub fn at_mut(&mut self, place: usize) -> &mut TaskState<'a> {
        &mut self.list[place]
    }

    /// By the task's name.
    pub fn get_mut(&mut self, task: &str) -> Option<&mut TaskState<'a>> {
        Some(&mut self.list[self.plan.place(task)?])
    }

    /// By the task's name; none where there is no such task.
    pub fn get(&self, task: &str) -> Option<&TaskState<'a>> {
        Some(&self.list[self.plan.place(task)?])
    }

    /// Forgets which tasks will not start.
    pub fn unmark(&mut self) {
        for state in &mut self.list {
            (state.skip, state.invalid) = (None, None);
        }
    }

    /// All of them, in the order of the file.
    pub fn values(&self) -> impl Iterator<Item = &TaskState<'a>> {
        self.list.iter()
    }

    /// Those of the graph, without the final ones.
    pub fn graph(&self) -> &[TaskState<'a>] {
        &self.list[..self.plan.finally().start]
    }

    /// Those of the final tasks.
    pub fn finally(&self) -> &[TaskState<'a>] {
        &self.list[self.plan.finally()]
    }
}

impl TaskState<'_> {
    /// Keeps the last try of a pipeline as its run, and not even that where another is to follow.
    fn retry(&mut self) {
        let retries = i64::from(self.task.retries.unwrap_or_default());
        if retries <= 0 || self.task.is_matrixed() {
            return;
        }
        self.runs.sort_by_key(|run| run.retry());
        let Some(last) = self.runs.pop() else { return };
        self.earlier = std::mem::take(&mut self.runs);
        let is_over = last.is_done() && !last.is_successful() && !last.is_cancelled();
        if is_over && last.retry() < retries {
            self.earlier.push(last);
        } else {
            self.runs.push(last);
        }
    }

    /// Keeps the last run as it is, and not even that where its work was lost with its pod.
    fn leave_out_lost(&mut self) {
        let is_lost = |run: &Child<'_>| matches!(run, Child::Task(run) if fuse::was_lost(run));
        if self.task.is_matrixed() || !self.runs.iter().any(|run| is_lost(run) || run.retry() > 0) {
            return;
        }
        self.runs.sort_by_key(|run| run.retry());
        let last = self.runs.pop_if(|last| !is_lost(last));
        self.earlier = std::mem::take(&mut self.runs);
        self.runs.extend(last);
    }

    /// What it has done is lost, and it runs again.
    pub fn leave_out(&mut self) {
        self.earlier.append(&mut self.runs);
        self.has_begun = false;
    }

    /// No other try follows: the last was it. False where there was none and there is none to come.
    pub fn give_up(&mut self) -> bool {
        if self.runs.is_empty() {
            self.runs.extend(self.earlier.pop());
        }
        self.is_started() || self.has_begun
    }

    pub fn is_started(&self) -> bool {
        !self.runs.is_empty()
    }

    /// Some of its runs are made, and not all.
    pub fn is_half_made(&self) -> bool {
        self.is_started() && self.runs.len() < self.expected
    }

    /// Ended, skipped or invalid: what waits for it may go on.
    pub fn is_done(&self) -> bool {
        self.skip.is_some() || self.invalid.is_some() || self.is_ended()
    }

    pub fn is_succeeded(&self) -> bool {
        self.is_ended() && !self.cut_short && self.runs.iter().all(|run| run.is_successful())
    }

    /// Ended, and not well, and that matters: not where `onError: continue` says otherwise.
    pub fn is_failed(&self) -> bool {
        self.is_timed_out() || self.is_unsuccessful() && !self.is_ignored() && !self.is_cancelled()
    }

    pub fn is_ignored_failure(&self) -> bool {
        self.is_unsuccessful() && self.is_ignored() && !self.is_cancelled() && !self.is_timed_out()
    }

    pub fn is_cancelled(&self) -> bool {
        self.is_unsuccessful()
            && !self.is_timed_out()
            && (self.cut_short || self.runs.iter().any(|run| run.is_cancelled()))
    }

    /// After it, no other task of the graph starts.
    pub fn stops_others(&self) -> bool {
        (self.is_unsuccessful() || self.invalid.is_some()) && !self.is_ignored()
    }

    /// Any of its runs ended, and not well.
    pub fn has_failures(&self) -> bool {
        self.runs.iter().any(|run| run.is_done() && !run.is_successful())
    }

    /// The value of `$(tasks.<name>.status)`.
    pub fn status_word(&self) -> &'static str {
        if self.is_succeeded() {
            "Succeeded"
        } else if self.has_failures() {
            "Failed"
        } else {
            "None"
        }
    }

    /// One result, or the results of a matrix's legs in their order, without those of legs that wrote none.
    pub fn result(&self, name: &str) -> Option<ParamValue> {
        if self.task.matrix.is_none() {
            return self.runs.first()?.result(name).map(Cow::into_owned);
        }
        let values: Vec<String> = self
            .runs
            .iter()
            .filter_map(|run| match run.result(name)?.into_owned() {
                ParamValue::String(text) => Some(text),
                other => serde_json::to_string(&other).ok(),
            })
            .collect();
        (!values.is_empty()).then_some(ParamValue::Array(values))
    }

    fn is_ignored(&self) -> bool {
        self.task.continues_on_error()
    }

    fn is_unsuccessful(&self) -> bool {
        self.is_ended() && (self.cut_short || self.runs.iter().any(|run| !run.is_successful()))
    }

    fn is_timed_out(&self) -> bool {
        self.is_ended() && self.runs.iter().any(|run| run.is_timed_out())
    }

    fn is_ended(&self) -> bool {
        self.is_started()
            && (self.cut_short || !self.is_half_made())
            && self.runs.iter().all(|run| run.is_done())
    }
}
