//! What is wrong with manifests, and what is bad practice in them: the checks of `ergon lint` and `ergon lsp`.
//!
//! Pure: texts go in, findings come out, each with its place, what to write instead and, where that is mechanical, the
//! edits that do it. What the webhook refuses is found by the same code as there (`ergon_api`); rules of this crate find
//! what only several objects together show, and what works but should not be done. Reading files is the caller's.

pub mod assist;
mod checks;
mod finding;
mod fix;
mod ignore;
mod lines;
mod report;
mod rule;
mod rules;
mod scalar;
mod set;
mod source;
mod spec;

pub use finding::{Edit, Finding, Fix, Level};
pub use fix::{Fixed, apply, mend};
pub use lines::Lines;
pub use rule::{RULES, Rule};
pub use set::{Found, Set};
pub use source::Source;

use std::collections::BTreeMap;

use ergon_api::Config;

/// What is looked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The levels of rules that have another one than their own; none where a rule is off.
    pub levels: BTreeMap<String, Option<Level>>,
    /// The settings of the installation.
    pub config: Config,
}

impl Options {
    /// The level of a rule; none where it is off.
    pub fn level(&self, rule: &Rule) -> Option<Level> {
        self.levels.get(rule.name).copied().unwrap_or(Some(rule.level))
    }
}

/// All findings in `sources`, by file and place. `around` are files that they may refer to and that are not looked at
/// themselves.
pub fn lint(sources: &[Source], around: &[Source], options: &Options) -> Vec<Finding> {
    let set = Set::of(sources.iter().chain(around));
    sources.iter().flat_map(|source| lint_one(source, &set, options)).collect()
}

/// The findings in one file.
pub fn lint_one(source: &Source, set: &Set<'_>, options: &Options) -> Vec<Finding> {
    let mut report = report::Report::new(source, options);
    checks::problems(&mut report);
    for document in &source.documents {
        report.document = Some(document);
        let before = report.refused();
        checks::document(&mut report, document);
        // What is wrong in itself is mended first: what else is said of it would be guessed.
        if report.refused() == before {
            rules::document(&mut report, document, set);
        }
    }
    report.document = None;
    rules::file(&mut report, set);
    let mut found = report.finish();
    ignore::apply(source, options, &mut found);
    found.sort_by(|one, other| {
        (one.start, one.end, one.rule.name).cmp(&(other.start, other.end, other.rule.name))
    });
    found
}
