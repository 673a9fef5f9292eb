//! The rules that are this crate's own, one file a topic.

mod code;
mod deprecated;
mod images;
mod inject_fix;
mod injection;
mod names;
mod raw;
mod references;
mod results;
mod security;
mod tasks;
mod timeouts;
mod unused;
mod values;

use ergon_api::Document;

use crate::report::Report;
use crate::set::Set;
use crate::spec::Specs;

/// What is found in one object that the webhook takes.
pub(crate) fn document<'a>(report: &mut Report<'a>, document: &'a Document, set: &Set<'a>) {
    let specs = Specs::of(document);
    for task in &specs.tasks {
        images::task(report, task);
        security::task(report, task);
        raw::task(report, task);
        injection::task(report, task);
        unused::task(report, task);
        results::unwritten(report, task);
        deprecated::task(report, task);
        references::steps(report, task, set);
    }
    for action in &specs.actions {
        images::action(report, action);
        security::action(report, action);
        raw::action(report, action);
        injection::action(report, action);
        unused::action(report, action);
    }
    for pipeline in &specs.pipelines {
        tasks::cycle(report, pipeline);
        tasks::unreachable(report, pipeline);
        unused::pipeline(report, pipeline);
        references::pipeline(report, pipeline, set);
    }
    timeouts::document(report, document);
    references::run(report, document, set);
    deprecated::version(report, document);
}

/// What is found between the objects of a file, and those around it.
pub(crate) fn file<'a>(report: &mut Report<'a>, set: &Set<'a>) {
    names::twins(report, set);
}
