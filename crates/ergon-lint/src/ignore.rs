//! `# ergon-lint: ignore=<rule>` in a line, or in the line above what is ignored; `ignore-file=<rule>` anywhere.

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::Position;

use crate::rule::{Rule, UNKNOWN_IGNORE};
use crate::{Finding, Options, RULES, Source};

const MARK: &str = "# ergon-lint:";

/// Takes away what is ignored. What is refused stays.
pub(crate) fn apply(source: &Source, options: &Options, found: &mut Vec<Finding>) {
    if !source.text.contains(MARK) {
        return;
    }
    let (mut of_file, mut of_line) = (BTreeSet::new(), BTreeMap::<usize, BTreeSet<&str>>::new());
    for number in 1..=source.lines.count() {
        let line = source.lines.line(&source.text, number);
        let Some((before, comment)) = line.split_once(MARK) else { continue };
        let comment = comment.trim_start();
        let (is_of_file, rest) = match (comment.strip_prefix("ignore-file="), comment.strip_prefix("ignore="))
        {
            (Some(rest), _) => (true, rest),
            (_, Some(rest)) => (false, rest),
            _ => continue,
        };
        // A reason may stand after the names.
        let names = rest.split_whitespace().next().unwrap_or_default();
        for name in names.split(',').filter(|name| !name.is_empty()) {
            if Rule::named(name).is_none() {
                unknown(source, options, found, number, name);
            }
            if is_of_file {
                of_file.insert(name);
                continue;
            }
            of_line.entry(number).or_default().insert(name);
            // A comment that has the line to itself is about the next line that is none.
            if before.trim().is_empty() || before.trim() == "-" {
                let is_comment =
                    |at: &usize| source.lines.line(&source.text, *at).trim_start().starts_with('#');
                let next = (number + 1..=source.lines.count()).find(|at| !is_comment(at));
                of_line.entry(next.unwrap_or(number)).or_default().insert(name);
            }
        }
    }
    found.retain(|finding| {
        let is_ignored =
            |line: usize| of_line.get(&line).is_some_and(|names| names.contains(finding.rule.name));
        // A whole text is ignored where it begins.
        let key = source.documents.iter().filter(|document| document.source.contains(&finding.path));
        let mut keys = key.map(|document| document.source.key(&finding.path).line);
        finding.rule.is_refused
            || !(of_file.contains(finding.rule.name)
                || is_ignored(finding.start.line)
                || keys.any(|line| line <= finding.start.line && is_ignored(line)))
    });
}

fn unknown(source: &Source, options: &Options, found: &mut Vec<Finding>, line: usize, name: &str) {
    let Some(level) = options.level(&UNKNOWN_IGNORE) else { return };
    let text = source.lines.line(&source.text, line);
    let at = text.find(name).unwrap_or_default();
    let column = text[..at].chars().count() + 1;
    let help = match ergon_api::nearest(name, RULES.iter().map(|rule| rule.name)) {
        Some(near) => format!("did you mean `{near}`?"),
        None => "`ergon lint --list` names all rules".to_owned(),
    };
    found.push(Finding {
        rule: &UNKNOWN_IGNORE,
        level,
        file: source.name.clone(),
        start: Position { line, column },
        end: Position { line, column: column + name.chars().count() },
        path: String::new(),
        message: format!("there is no rule `{name}`"),
        help: Some(help),
        fix: None,
    });
}
