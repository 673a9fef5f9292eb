//! Finding what exists: one by name, many by selector, the newest, the children of a run.

use std::cmp::Reverse;

use ergon_api::{Group, PipelineRun, TaskRun};
use kube::api::ListParams;
use kube::core::DynamicResourceScope;
use kube::{Api, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use crate::connect::Ergon;
use crate::error::{Error, Result};
use crate::run::{Run, RunKind, RunRef};

/// How many objects one answer of the API server holds at most.
const PAGE: u32 = 500;

/// Which objects to list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// A label selector as kubectl writes it, such as `app=shop,tier!=test`.
    pub selector: Option<String>,
    /// In every namespace, not only in the connection's.
    pub all_namespaces: bool,
    /// At most so many, the newest.
    pub limit: Option<usize>,
    /// No TaskRuns that belong to a PipelineRun.
    pub top_level: bool,
}

impl Ergon {
    /// One run.
    pub async fn get(&self, run: &RunRef) -> Result<Run> {
        let here = self.clone().in_namespace(&run.namespace);
        let what = run.to_string();
        let of = |error| Error::of(error, &what);
        Ok(match run.kind {
            RunKind::PipelineRun => {
                here.api::<PipelineRun>(run.group).get(&run.name).await.map_err(of)?.into()
            }
            RunKind::TaskRun => here.api::<TaskRun>(run.group).get(&run.name).await.map_err(of)?.into(),
        })
    }

    /// One Task, Pipeline or the like, from the first group that has it.
    pub async fn get_named<K>(&self, name: &str) -> Result<K>
    where
        K: Resource<DynamicType = Group, Scope = DynamicResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let mut missing = None;
        for group in self.groups().await? {
            let what = format!("{} `{name}` in namespace `{}`", K::kind(&group), self.namespace());
            match self.api::<K>(group).get(name).await.map_err(|error| Error::of(error, &what)) {
                Ok(found) => return Ok(found),
                Err(error) if error.is_not_found() => missing = missing.or(Some(error)),
                Err(error) => return Err(error),
            }
        }
        Err(missing.unwrap_or_else(|| Error::no_groups(None)))
    }

    /// The run of this name: a PipelineRun before a TaskRun, Ergon's group before Tekton's.
    pub async fn find(&self, name: &str, kind: Option<RunKind>) -> Result<Run> {
        let kinds: &[RunKind] = kind.as_ref().map_or(&RunKind::ALL, std::slice::from_ref);
        let groups = self.groups().await?;
        for &kind in kinds {
            for &group in &groups {
                let reference =
                    RunRef { group, kind, namespace: self.namespace().to_owned(), name: name.to_owned() };
                match self.get(&reference).await {
                    Err(error) if error.is_not_found() => {}
                    answer => return answer,
                }
            }
        }
        let kinds: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
        Err(Error::not_found(format!("{} `{name}` in namespace `{}`", kinds.join(" or "), self.namespace())))
    }

    /// Runs of the kinds, of every group that is looked into, the newest first.
    pub async fn list(&self, kinds: &[RunKind], options: &ListOptions) -> Result<Vec<Run>> {
        let mut runs = Vec::new();
        for group in self.groups().await? {
            for kind in kinds {
                match kind {
                    RunKind::PipelineRun => {
                        runs.extend(
                            self.list_kind::<PipelineRun>(group, options).await?.into_iter().map(Run::from),
                        );
                    }
                    RunKind::TaskRun => {
                        let options = if options.top_level { &top_level(group, options) } else { options };
                        runs.extend(
                            self.list_kind::<TaskRun>(group, options).await?.into_iter().map(Run::from),
                        );
                    }
                }
            }
        }
        runs.sort_by(|a, b| (Reverse(a.created_at()), a.name()).cmp(&(Reverse(b.created_at()), b.name())));
        runs.truncate(options.limit.unwrap_or(usize::MAX));
        Ok(runs)
    }

    /// The newest run of the kinds that is not a task of another one.
    pub async fn last(&self, kinds: &[RunKind]) -> Result<Run> {
        let options = ListOptions { limit: Some(1), top_level: true, ..ListOptions::default() };
        let newest = self.list(kinds, &options).await?.into_iter().next();
        newest.ok_or_else(|| Error::not_found(format!("a run in namespace `{}`", self.namespace())))
    }

    /// Objects of one kind of one group, the newest first. A group that is not served has none.
    pub async fn list_kind<K>(&self, group: Group, options: &ListOptions) -> Result<Vec<K>>
    where
        K: Resource<DynamicType = Group, Scope = DynamicResourceScope>
            + Clone
            + DeserializeOwned
            + std::fmt::Debug,
    {
        let api: Api<K> = if options.all_namespaces {
            Api::all_with(self.client().clone(), &group)
        } else {
            self.api(group)
        };
        let what = format!("{} of {group}", K::plural(&group));
        let mut found: Vec<K> = Vec::new();
        let mut params = ListParams::default().limit(PAGE);
        params.label_selector.clone_from(&options.selector);
        loop {
            let page = match api.list(&params).await.map_err(|error| Error::of(error, &what)) {
                Ok(page) => page,
                Err(Error::NotServed { .. }) => return Ok(found),
                Err(error) => return Err(error),
            };
            found.extend(page.items);
            // Sorted and cut page by page: what is kept never outgrows the limit by more than a page.
            found.sort_by(|a, b| order(a).cmp(&order(b)));
            found.truncate(options.limit.unwrap_or(usize::MAX));
            match page.metadata.continue_ {
                Some(token) if !token.is_empty() => params.continue_token = Some(token),
                _ => return Ok(found),
            }
        }
    }

    /// The TaskRuns of a PipelineRun, in the order in which they started; of a TaskRun, itself.
    pub async fn children(&self, run: &Run) -> Result<Vec<TaskRun>> {
        let run = match run {
            Run::Task(run) => return Ok(vec![(**run).clone()]),
            Run::Pipeline(run) => run,
        };
        let options = ListOptions { selector: Some(children_selector(run)), ..ListOptions::default() };
        let here = self.clone().in_namespace(run.namespace());
        let mut children = here.list_kind::<TaskRun>(run.group(), &options).await?;
        children.retain(|child| is_child(child, run));
        children.sort_by(|a, b| start_order(a).cmp(&start_order(b)));
        Ok(children)
    }
}

/// The options with a selector for TaskRuns that belong to no PipelineRun.
fn top_level(group: Group, options: &ListOptions) -> ListOptions {
    let alone = format!("!{}", group.label("pipelineRun"));
    let selector = match &options.selector {
        Some(selector) if !selector.is_empty() => format!("{selector},{alone}"),
        _ => alone,
    };
    ListOptions { selector: Some(selector), ..options.clone() }
}

/// The label selector of a PipelineRun's TaskRuns.
pub(crate) fn children_selector(run: &PipelineRun) -> String {
    format!("{}={}", run.group().label("pipelineRun"), run.name())
}

/// True unless the TaskRun belongs to an older run of the same name.
pub(crate) fn is_child(child: &TaskRun, run: &PipelineRun) -> bool {
    let owners = child.owner_references();
    owners.is_empty() || owners.iter().any(|owner| owner.uid == run.uid())
}

/// Orders TaskRuns by start; those that did not start come last.
pub(crate) fn start_order(run: &TaskRun) -> (bool, Option<jiff::Timestamp>, Option<jiff::Timestamp>, &str) {
    let started = run.status.as_ref().and_then(|status| status.start_time.as_ref()).map(|time| time.0);
    let created = run.metadata.creation_timestamp.as_ref().map(|time| time.0);
    (started.is_none(), started, created, run.name())
}

fn order<K: Resource>(object: &K) -> (Reverse<Option<jiff::Timestamp>>, &str) {
    let meta = object.meta();
    let created = meta.creation_timestamp.as_ref().map(|time| time.0);
    (Reverse(created), meta.name.as_deref().unwrap_or_default())
}
