//! Carrying out fixes: edits of the text, so that comments, order and quotes of all else stay as they are.

use crate::{Edit, Finding, Fix, Options, Set, Source, lint_one};

/// A text with some of its findings mended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fixed {
    pub text: String,
    /// How many findings are gone.
    pub mended: usize,
}

/// How often it is looked again at what is left.
const ROUNDS: usize = 10;

/// The text with each of these fixes carried out that does not overlap one before it.
pub fn apply<'f>(text: &str, fixes: impl Iterator<Item = &'f Fix>) -> String {
    let mut edits: Vec<&Edit> = Vec::new();
    let mut done: Vec<&Fix> = Vec::new();
    for fix in fixes {
        // One fix may mend several findings.
        if done.contains(&fix) {
            continue;
        }
        let overlaps = |edit: &Edit| {
            edits
                .iter()
                .any(|other| edit.range.start <= other.range.end && other.range.start <= edit.range.end)
        };
        if !fix.edits.iter().any(overlaps) {
            edits.extend(&fix.edits);
            done.push(fix);
        }
    }
    edits.sort_by_key(|edit| (edit.range.start, edit.range.end));
    let (mut written, mut read) = (String::with_capacity(text.len()), 0);
    for edit in edits {
        written.push_str(text.get(read..edit.range.start).unwrap_or_default());
        written.push_str(&edit.text);
        read = edit.range.end;
    }
    written.push_str(text.get(read..).unwrap_or_default());
    written
}

/// Mends a file as far as that is sure: no fix is kept that brings a mistake in. None where nothing is mended.
pub fn mend(source: &Source, set: &Set<'_>, options: &Options) -> Option<Fixed> {
    let mut now = source.clone();
    let mut found = lint_one(&now, set, options);
    let mut mended = 0;
    for _ in 0..ROUNDS {
        let fixes: Vec<&Fix> = found.iter().filter_map(sure).collect();
        if fixes.is_empty() {
            break;
        }
        let try_out = |fixes: &[&Fix]| {
            let next = Source::of(&now.name, &apply(&now.text, fixes.iter().copied()));
            let left = lint_one(&next, set, options);
            let refused = |found: &[Finding]| found.iter().filter(|finding| finding.rule.is_refused).count();
            (refused(&left) <= refused(&found) && left.len() < found.len()).then_some((next, left))
        };
        // Together if they go together, and otherwise the first that goes alone.
        let tried = try_out(&fixes).or_else(|| fixes.iter().find_map(|fix| try_out(&[fix])));
        let Some((next, left)) = tried else { break };
        mended += found.len() - left.len();
        (now, found) = (next, left);
    }
    (now.text != source.text).then_some(Fixed { text: now.text, mended })
}

fn sure(finding: &Finding) -> Option<&Fix> {
    finding.fix.as_ref().filter(|fix| fix.is_sure)
}
