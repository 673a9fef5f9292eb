//! Finding `$(…)` variables in text. What they stand for is decided in `ergon-engine`.

use std::fmt;
use std::ops::Range;

/// Longer than any chain of names that validation admits. It bounds the work for a text with many `$(` before one `)`.
const MAX_LENGTH: usize = 1100;

/// A variable as it stands in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// What was written, without `$(` and `)`.
    pub text: String,
    /// The names in it: `["tasks", "build", "results", "digest"]`. A name in brackets and quotes is one, whatever
    /// is in it.
    pub path: Vec<String>,
    /// What is taken of the value.
    pub part: Part,
    /// True when the variable is the whole text.
    pub is_alone: bool,
    /// Where it stands in the text, in bytes, `$(` and `)` included.
    pub place: Range<usize>,
}

/// What a variable takes of the value that its names lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// All of a text.
    Value,
    /// One item of a list, counted from 0.
    Item(usize),
    /// All of a list or map: `[*]`.
    All,
}

impl Variable {
    /// The names as `&str`, for matching.
    pub fn names(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "$({})", self.text)
    }
}

/// All variables in a text, in order. What only looks like one, such as a shell's `$(date +%s)`, is not among them.
///
/// Linear in the text's length, whatever it holds.
pub fn variables(text: &str) -> Vec<Variable> {
    let mut found = Vec::new();
    let mut at = 0;
    // Where the next `)` or line's end is: found once, not once for each `$(` before it.
    let mut close = 0;
    while let Some(start) = text[at..].find("$(").map(|offset| at + offset) {
        let inner = start + 2;
        at = inner;
        if close < inner {
            let Some(next) = text[inner..].find([')', '\n']) else { break };
            close = inner + next;
        }
        if text.as_bytes()[close] == b')'
            && close - inner <= MAX_LENGTH
            && let Some((path, part)) = parse(&text[inner..close])
        {
            let is_alone = start == 0 && close + 1 == text.len();
            let place = start..close + 1;
            found.push(Variable { text: text[inner..close].to_owned(), path, part, is_alone, place });
            at = close + 1;
        }
    }
    found
}

fn parse(text: &str) -> Option<(Vec<String>, Part)> {
    let mut path = Vec::new();
    let mut part = Part::Value;
    let mut rest = text;
    let end = rest.find(['.', '[']).unwrap_or(rest.len());
    path.push(name(&rest[..end])?);
    rest = &rest[end..];
    while !rest.is_empty() {
        // After an item or a star nothing more can follow.
        if part != Part::Value {
            return None;
        }
        if let Some(after) = rest.strip_prefix('.') {
            let end = after.find(['.', '[']).unwrap_or(after.len());
            path.push(name(&after[..end])?);
            rest = &after[end..];
            continue;
        }
        let inner = rest.strip_prefix('[')?;
        if let Some(quote) = inner.chars().next().filter(|c| *c == '\'' || *c == '"') {
            let (quoted, after) = inner[1..].split_once(quote)?;
            rest = after.strip_prefix(']')?;
            path.push(Some(quoted).filter(|quoted| !quoted.is_empty())?.to_owned());
        } else {
            let (item, after) = inner.split_once(']')?;
            let is_number = !item.is_empty() && item.bytes().all(|byte| byte.is_ascii_digit());
            part = match item {
                "*" => Part::All,
                _ => Part::Item(is_number.then(|| item.parse().ok())??),
            };
            rest = after;
        }
    }
    Some((path, part))
}

fn name(text: &str) -> Option<String> {
    let fits = !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    fits.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_variables_and_nothing_else() {
        for (text, wanted) in [
            ("$(params.x)", vec![("params/x", Part::Value, true)]),
            (" $(params.x)", vec![("params/x", Part::Value, false)]),
            ("$(params['a.b'][*])", vec![("params/a.b", Part::All, true)]),
            ("$(params[\"x\"][2])", vec![("params/x", Part::Item(2), true)]),
            (
                "a-$(tasks.b-c.results.d.key)$(params.e)",
                vec![("tasks/b-c/results/d/key", Part::Value, false), ("params/e", Part::Value, false)],
            ),
            (
                "$(date +%s) $(params.x y) $(a..b) $(x[) $( $(params.y)",
                vec![("params/y", Part::Value, false)],
            ),
            ("$(params.x[*].y)", vec![]),
            ("$(HOME)", vec![("HOME", Part::Value, true)]),
            ("$(params.é)", vec![]),
            ("$(params.x[+1])$(params.x[-1])$(params.x[])", vec![]),
            ("$($(params.x)", vec![("params/x", Part::Value, false)]),
            ("$(results.r.path)", vec![("results/r/path", Part::Value, true)]),
            ("$(params.a.key)", vec![("params/a/key", Part::Value, true)]),
            ("$(tasks.build.results['x.y'].key)", vec![("tasks/build/results/x.y/key", Part::Value, true)]),
            (
                "$()$(params.)$(params.a[)$(params.a[x])$(params.a[0].b)$(params.a[0][1])$(params.a[*]x)",
                vec![],
            ),
            (
                "a $(params.x)$(params.y) $(date) $((1+2)) $(params.z",
                vec![
                    ("params/x", Part::Value, false),
                    ("params/y", Part::Value, false),
                    ("date", Part::Value, false),
                ],
            ),
            ("é$(params.ü)$(params.x)é", vec![("params/x", Part::Value, false)]),
        ] {
            let found: Vec<_> =
                variables(text).into_iter().map(|v| (v.path.join("/"), v.part, v.is_alone)).collect();
            let wanted: Vec<_> =
                wanted.into_iter().map(|(path, part, alone)| (path.to_owned(), part, alone)).collect();
            assert_eq!(found, wanted, "{text}");
        }
    }

    #[test]
    fn a_hostile_text_costs_no_more_than_its_length() {
        for text in ["$(".repeat(1 << 19), "$(a".repeat(1 << 18), format!("{})", "$(".repeat(1 << 19))] {
            assert!(variables(&text).is_empty());
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "[$()a-c.\\[\\]'\"*0-9\n\u{e9}]{0,40}") {
            let _ = variables(&text);
        }
    }
}
