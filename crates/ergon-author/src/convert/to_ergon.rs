//! From references to tags.

use ergon_api::Group;
use ergon_api::variables::{Part, Variable, variables};

use super::fields::{Field, field};
use super::{Edits, Object};
use crate::scalars::Scalar;

pub(super) fn scalar(object: &Object, at: usize, scalar: &Scalar, edits: &mut Edits<'_>) {
    match field(object, object.path(scalar)) {
        Field::ApiVersion => edits.rewrite(at, scalar, |version| match version.split_once('/') {
            // What Tekton still serves of older versions is asked for in today's.
            Some((group, _)) if group == Group::Tekton.name() && scalar.path.ends_with("Ref.apiVersion") => {
                Group::Ergon.api_version().to_owned()
            }
            Some((group, "v1beta1" | "v1alpha1")) if group == Group::Tekton.name() => {
                match object.kind.as_str() {
                    "StepAction" | "CustomRun" => Group::Ergon.beta_api_version().to_owned(),
                    _ => Group::Ergon.api_version().to_owned(),
                }
            }
            Some((group, version)) if group == Group::Tekton.name() => {
                format!("{}/{version}", Group::Ergon.name())
            }
            _ => version.to_owned(),
        }),
        Field::Script if !has_variable(&scalar.value) && !scalar.value.contains("{{") => {
            elsewhere(scalar, edits);
        }
        Field::Script => {
            elsewhere(scalar, edits);
            let quoted = Quoted::of(&scalar.value);
            for (line, name) in bare_words(&scalar.value, quoted) {
                let message = format!(
                    "`{name}` is one word now, whatever is in it: for several, make it a list and write `{{{{#each}}}}`"
                );
                edits.differs(scalar, line, message);
            }
            edits.rewrite(at, scalar, |script| script_with_tags(script, quoted));
        }
        Field::Text => {
            elsewhere(scalar, edits);
            edits.rewrite(at, scalar, |text| today(&text.replace("{{", "\\{{")));
        }
        // What stays a reference is told by the check of the whole.
        Field::Condition => edits.rewrite(at, scalar, condition_with_names),
        Field::Verbatim => {}
    }
}

/// An expression with names in the place of references, which take their quotes with them.
fn condition_with_names(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut from = 0;
    for variable in variables(text) {
        let is_name =
            ["params", "tasks", "steps", "workspaces", "context"].contains(&variable.path[0].as_str());
        let quoted = stands_alone_in_quotes(text, &variable.place);
        let is_open = is_open(&text[..variable.place.start]);
        if !is_name || is_open && !quoted {
            continue;
        }
        let extra = usize::from(quoted);
        out += &text[from..variable.place.start - extra];
        for (at, part) in variable.path.iter().enumerate() {
            let word = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            match (at, word) {
                (0, _) => out += part,
                (_, true) => out += &format!(".{part}"),
                (_, false) => out += &format!("['{part}']"),
            }
        }
        if let Part::Item(at) = variable.part {
            out += &format!("[{at}]");
        }
        from = variable.place.end + extra;
    }
    out + &text[from..]
}

/// A script that stays as it is.
pub(super) fn kept(at: usize, scalar: &Scalar, edits: &mut Edits<'_>) {
    elsewhere(scalar, edits);
    edits.rewrite(at, scalar, today);
}

/// References as they are written today: `$(inputs.params.x)` is one that Tekton alone still reads.
fn today(text: &str) -> String {
    text.replace("$(inputs.params", "$(params")
}

/// Tekton's own folders are not where its objects are no longer.
fn elsewhere(scalar: &Scalar, edits: &mut Edits<'_>) {
    if scalar.value.contains("/tekton/") {
        let message = "`/tekton/` is not there: write `$(results.x.path)` or what else is meant".to_owned();
        edits.differs(scalar, 0, message);
    }
}

/// How the script's language has texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Quoted {
    /// As a shell: a tag stands in quotes as well.
    Inside,
    /// A tag is an expression: it takes the place of the quotes around it.
    Whole,
    Unknown,
}

impl Quoted {
    fn of(script: &str) -> Self {
        let Some(line) = script.strip_prefix("#!").and_then(|rest| rest.lines().next()) else {
            return Self::Inside;
        };
        let names = |names: &[&str]| {
            line.split([' ', '/'])
                .any(|word| names.contains(&word.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.')))
        };
        if names(&["sh", "bash", "dash", "ash", "zsh"]) {
            Self::Inside
        } else if names(&["python", "node", "nodejs", "ruby", "perl"]) {
            Self::Whole
        } else {
            Self::Unknown
        }
    }
}

const ROOTS: [&str; 9] =
    ["params", "results", "workspaces", "steps", "step", "tasks", "context", "artifacts", "credentials"];

/// The name in a tag that stands for what the reference stands for.
fn tag(variable: &Variable) -> Option<String> {
    let mut path = variable.path.as_slice();
    if path.first().is_some_and(|first| first == "inputs") && path.get(1).is_some_and(|it| it == "params") {
        path = &path[1..];
    }
    if path.len() < 2 || !ROOTS.contains(&path[0].as_str()) {
        return None;
    }
    let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
    let names: Vec<String> =
        path.iter().map(|name| if plain(name) { name.clone() } else { format!("[{name}]") }).collect();
    let name = names.join(".");
    Some(match variable.part {
        Part::Value => name,
        Part::Item(at) => format!("{name}.{at}"),
        Part::All => format!("{name}[*]"),
    })
}

fn has_variable(script: &str) -> bool {
    variables(script).iter().any(|variable| tag(variable).is_some())
}

fn script_with_tags(script: &str, quoted: Quoted) -> String {
    let mut out = String::with_capacity(script.len());
    let mut from = 0;
    for variable in variables(script) {
        let Some(tag) = tag(&variable) else { continue };
        let mut place = variable.place.clone();
        if quoted == Quoted::Whole && stands_alone_in_quotes(script, &place) {
            place = place.start - 1..place.end + 1;
        }
        out += &script[from..place.start].replace("{{", "\\{{");
        out += &match quoted {
            Quoted::Unknown => format!("{{{{{{{tag}}}}}}}"),
            _ => format!("{{{{{tag}}}}}"),
        };
        from = place.end;
    }
    out + &script[from..].replace("{{", "\\{{")
}

/// Whether the place is all that is between two quotes, which are not of those that begin otherwise: `f"…"`, `"""…"""`.
fn stands_alone_in_quotes(script: &str, place: &std::ops::Range<usize>) -> bool {
    let (before, after) = (&script[..place.start], &script[place.end..]);
    ['"', '\''].into_iter().any(|quote| {
        before
            .strip_suffix(quote)
            .is_some_and(|before| !before.ends_with(|c: char| c.is_alphanumeric() || c == quote || c == '_'))
            && after.strip_prefix(quote).is_some_and(|after| !after.starts_with(quote))
    })
}

/// What the shell would have split into words, and does no longer: the line from the script's first, and what it is.
fn bare_words(script: &str, quoted: Quoted) -> Vec<(usize, String)> {
    if quoted != Quoted::Inside {
        return Vec::new();
    }
    let mut found: Vec<(usize, String)> = Vec::new();
    for variable in variables(script) {
        let is_value = matches!(
            variable.names().as_slice(),
            ["params" | "inputs" | "tasks", ..] | ["steps", _, "results", ..]
        );
        if !is_value || tag(&variable).is_none() {
            continue;
        }
        let start = script[..variable.place.start].rfind('\n').map_or(0, |at| at + 1);
        let line = &script[start..variable.place.start];
        let assigned = line.rsplit([' ', '\t', ';']).next().is_some_and(|word| word.contains('='));
        if !is_open(line) && !assigned && !found.iter().any(|(_, name)| *name == variable.to_string()) {
            found.push((script[..start].matches('\n').count(), variable.to_string()));
        }
    }
    found
}

/// Whether a quote is open at the end of the text.
fn is_open(text: &str) -> bool {
    let mut open = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (open, c) {
            (None | Some('"'), '\\') => {
                chars.next();
            }
            (None, '"' | '\'') => open = Some(c),
            (Some(quote), c) if quote == c => open = None,
            _ => {}
        }
    }
    open.is_some()
}
