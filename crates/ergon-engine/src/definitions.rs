//! Finding what a reference is to: by its name in what the shell has looked up, or as what a resolver fetched.

use ergon_api::{Group, Object, Pipeline, PipelineRef, RefSource, StepAction, StepRef, Task, TaskRef};

use crate::action::{Library, Need};
use crate::expr::Scope;
use crate::remote::{Answer, Failure, Request};

/// What a look-up came to.
pub(crate) enum Lookup<'a, T> {
    Found(Sourced<'a, T>),
    /// The shell must look it up first.
    Need(Need),
    /// A resolver is at it.
    Waiting,
    /// There is no object of this name.
    NoSuch(&'a str),
    /// A resolver did not get it, or got something else.
    Failed(Request, Failure),
    /// The reference has neither a name nor a resolver.
    Unnamed,
}

/// A definition, and where it came from if it was fetched.
pub(crate) struct Sourced<'a, T> {
    pub object: &'a T,
    pub source: Option<&'a RefSource>,
    /// The API group that it is written for, which may be another than the run's where it was fetched.
    pub group: Option<Group>,
}

/// The Task of a reference. `scope` holds what the resolver's parameters may refer to.
pub(crate) fn task<'a>(library: &'a Library, reference: &'a TaskRef, scope: &Scope) -> Lookup<'a, Task> {
    let TaskRef { name, resolver, params, .. } = reference;
    if let Some(request) = Request::of(name.as_deref(), resolver.as_deref(), params, scope) {
        return fetched(library, request, "task", |object| match object {
            Object::Task(task) => Some(&**task),
            _ => None,
        });
    }
    named(name.as_deref(), |name| library.tasks.get(name), Need::Task)
}

/// The Pipeline of a reference.
pub(crate) fn pipeline<'a>(
    library: &'a Library,
    reference: &'a PipelineRef,
    scope: &Scope,
) -> Lookup<'a, Pipeline> {
    let PipelineRef { name, resolver, params, .. } = reference;
    if let Some(request) = Request::of(name.as_deref(), resolver.as_deref(), params, scope) {
        return fetched(library, request, "pipeline", |object| match object {
            Object::Pipeline(pipeline) => Some(&**pipeline),
            _ => None,
        });
    }
    named(name.as_deref(), |name| library.pipelines.get(name), Need::Pipeline)
}

/// The StepAction of a reference through a resolver; none where the reference is by name.
pub(crate) fn step_action<'a>(
    library: &'a Library,
    reference: &StepRef,
    scope: &Scope,
) -> Option<Lookup<'a, StepAction>> {
    let StepRef { name, resolver, params } = reference;
    let request = Request::of(name.as_deref(), resolver.as_deref(), params, scope)?;
    Some(fetched(library, request, "StepAction", |object| match object {
        Object::StepAction(action) => Some(&**action),
        _ => None,
    }))
}

fn group_of(object: &Object) -> Option<Group> {
    match object {
        Object::Task(task) => Some(task.group()),
        Object::Pipeline(pipeline) => Some(pipeline.group()),
        Object::StepAction(action) => Group::of(&action.api_version),
        _ => None,
    }
}

fn named<'a, T>(
    name: Option<&'a str>,
    known: impl Fn(&str) -> Option<&'a Option<T>>,
    need: impl Fn(String) -> Need,
) -> Lookup<'a, T> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Lookup::Unnamed };
    match known(name) {
        None => Lookup::Need(need(name.to_owned())),
        Some(None) => Lookup::NoSuch(name),
        Some(Some(object)) => Lookup::Found(Sourced { object, source: None, group: None }),
    }
}

fn fetched<'a, T>(
    library: &'a Library,
    request: Request,
    kind: &'static str,
    of_kind: impl Fn(&'a Object) -> Option<&'a T>,
) -> Lookup<'a, T> {
    match library.remote.get(&request) {
        None => Lookup::Need(Need::Remote(request)),
        Some(Answer::Waiting) => Lookup::Waiting,
        Some(Answer::Failed(failure)) => Lookup::Failed(request, failure.clone()),
        Some(Answer::Found(found)) => match of_kind(&found.object) {
            Some(object) => {
                let (source, group) = (found.source.as_ref(), group_of(&found.object));
                Lookup::Found(Sourced { object, source, group })
            }
            None => Lookup::Failed(request, Failure::OtherKind(kind)),
        },
    }
}
