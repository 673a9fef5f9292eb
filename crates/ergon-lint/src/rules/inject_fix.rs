//! How values get out of code: through the environment, or as tags.

use std::collections::{BTreeMap, BTreeSet};

use ergon_api::Position;
use ergon_api::variables::{Variable, variables};
use ergon_template::{Quoting, places};

use super::code::Code;
use crate::report::Report;
use crate::{Edit, Fix};

/// A text with values pasted in.
pub(crate) struct Pasted<'a> {
    /// The step's.
    pub path: &'a str,
    /// The text's.
    pub field: String,
    pub text: &'a str,
    pub code: Code<'a>,
}

/// A fix, and the variables that it mends.
pub(crate) type Mended = (Option<Fix>, BTreeSet<String>);

/// Writes references with braces: under `ergon.dev`, where a tag is a value and never code.
pub(crate) fn tags(report: &Report<'_>, pasted: &Pasted<'_>) -> Mended {
    const ROOTS: [&str; 6] = ["params", "results", "workspaces", "steps", "step", "tasks"];
    let Some(scalar) = report.scalar(&pasted.field, pasted.text) else { return Mended::default() };
    let mut edits = Vec::new();
    let mut mended = BTreeSet::new();
    for variable in variables(pasted.text) {
        let root = variable.path.first().map(String::as_str).unwrap_or_default();
        let is_known = ROOTS.contains(&root) || root == "context" && variable.path.len() > 2;
        if !is_known {
            continue;
        }
        let Some(range) = scalar.place(&variable.place) else { return Mended::default() };
        let Some(text) = scalar.write(range.start, &format!("{{{{{}}}}}", variable.text)) else {
            return Mended::default();
        };
        edits.push(Edit { range, text });
        mended.insert(variable.text);
    }
    let title = "Write the references of this script with braces".to_owned();
    ((!edits.is_empty()).then_some(Fix { title, edits, is_sure: true }), mended)
}

/// Hands values over in `env`, where the shell's places are simple.
pub(crate) fn environment(report: &Report<'_>, pasted: &Pasted<'_>, found: &[Variable]) -> Mended {
    let Some(scalar) = report.scalar(&pasted.field, pasted.text) else { return Mended::default() };
    let ranges: Vec<_> = found.iter().map(|variable| variable.place.clone()).collect();
    let quotings = places(pasted.text, &ranges);
    // A value goes over as a whole: all its places are simple, or it stays.
    let stays: BTreeSet<&str> = found
        .iter()
        .zip(&quotings)
        .filter(|(variable, quoting)| {
            let is_split = **quoting == Some(Quoting::Word) && may_be_several_words(variable);
            quoting.is_none() || is_split || scalar.place(&variable.place).is_none()
        })
        .map(|(variable, _)| variable.text.as_str())
        .collect();
    let mut names = Names::of(pasted);
    let mut edits = Vec::new();
    for (variable, quoting) in found.iter().zip(quotings) {
        let (Some(quoting), false) = (quoting, stays.contains(variable.text.as_str())) else { continue };
        let name = names.name(variable);
        let written = match quoting {
            Quoting::Word => format!("\"${name}\""),
            Quoting::Double => format!("${{{name}}}"),
            Quoting::Single => format!("'\"${name}\"'"),
        };
        let edit = scalar
            .place(&variable.place)
            .and_then(|range| Some(Edit { text: scalar.write(range.start, &written)?, range }));
        let Some(edit) = edit else { return Mended::default() };
        edits.push(edit);
    }
    if edits.is_empty() {
        return Mended::default();
    }
    let new: Vec<(&str, &str)> =
        names.new.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    if !new.is_empty() {
        let Some(edit) = declare(report, pasted, &new) else { return Mended::default() };
        edits.push(edit);
    }
    let mended = names.of_text.into_keys().collect();
    (Some(Fix { title: "Hand the values over in `env`".to_owned(), edits, is_sure: true }), mended)
}

/// Values that are meant to be several words are left to whoever knows.
fn may_be_several_words(variable: &Variable) -> bool {
    let name = variable.path.last().map(|name| name.to_lowercase()).unwrap_or_default();
    let many = ["arg", "flag", "option", "opts", "extra", "command", "cmd", "script", "param"];
    many.iter().any(|word| name.contains(word)) || (name.ends_with('s') && !name.ends_with("ss"))
}

/// The names of environment variables: those that a step has, and new ones.
struct Names<'a> {
    pasted: &'a Pasted<'a>,
    /// By the text of the reference.
    of_text: BTreeMap<String, String>,
    /// Name and reference, in the order in which they are used.
    new: Vec<(String, String)>,
}

impl<'a> Names<'a> {
    fn of(pasted: &'a Pasted<'a>) -> Self {
        Self { pasted, of_text: BTreeMap::new(), new: Vec::new() }
    }

    fn name(&mut self, variable: &Variable) -> String {
        if let Some(name) = self.of_text.get(&variable.text) {
            return name.clone();
        }
        let reference = variable.to_string();
        let known = self.pasted.code.env.iter().find(|env| env.value.as_deref() == Some(reference.as_str()));
        let name = known.map_or_else(|| self.new_name(variable), |env| env.name.clone());
        if known.is_none() {
            self.new.push((name.clone(), reference));
        }
        self.of_text.insert(variable.text.clone(), name.clone());
        name
    }

    /// `GIT_URL` for `params.git-url`.
    fn new_name(&self, variable: &Variable) -> String {
        let names: Vec<&str> = match variable.names().as_slice() {
            ["params", rest @ ..] | ["inputs", "params", rest @ ..] => rest.to_vec(),
            ["tasks" | "steps", of, _, rest @ ..] => [&[*of], rest].concat(),
            names => names.to_vec(),
        };
        let mut name: String = names
            .join("_")
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
            .collect();
        if let ergon_api::variables::Part::Item(at) = variable.part {
            name = format!("{name}_{at}");
        }
        if name.starts_with(|c: char| c.is_ascii_digit()) || self.is_taken(&name) {
            name = format!("PARAM_{name}");
        }
        let mut number = 1;
        let mut free = name.clone();
        while self.is_taken(&free) {
            number += 1;
            free = format!("{name}_{number}");
        }
        free
    }

    /// Whether the step, the script or every shell has such a variable.
    fn is_taken(&self, name: &str) -> bool {
        const OF_SHELLS: [&str; 24] = [
            "PATH", "HOME", "USER", "SHELL", "PWD", "OLDPWD", "IFS", "LANG", "TERM", "TMPDIR", "HOSTNAME",
            "UID", "EUID", "PPID", "RANDOM", "SECONDS", "LINENO", "OPTARG", "OPTIND", "PS1", "PS2", "PS4",
            "ENV", "MAIL",
        ];
        let code = &self.pasted.code;
        let text = self.pasted.text;
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_in_text = text
            .match_indices(name)
            .any(|(at, _)| !text[..at].ends_with(is_name) && !text[at + name.len()..].starts_with(is_name));
        OF_SHELLS.contains(&name)
            || ["BASH", "LD_", "LC_", "KUBERNETES_"].iter().any(|begin| name.starts_with(begin))
            || code.env.iter().chain(code.more_env).any(|env| env.name == name)
            || self.new.iter().any(|(known, _)| known == name)
            || is_in_text
    }
}

/// Adds variables to the `env` of a step, or gives it one.
fn declare(report: &Report<'_>, pasted: &Pasted<'_>, new: &[(&str, &str)]) -> Option<Edit> {
    let text = &report.source.text;
    let list = format!("{}.env", pasted.path);
    let insert = |at: usize, text: String| Some(Edit { range: at..at, text });
    if !pasted.code.env.is_empty() {
        let document = report.document?;
        let first = report.key(&format!("{list}[0]"))?;
        let line_start = text[..first].rfind('\n').map_or(0, |at| at + 1);
        let before = &text[line_start..first];
        let indent = before.len() - before.trim_start_matches(' ').len();
        if before.trim() != "-" {
            // `env: [{…}]`
            let items: Option<Vec<String>> = new
                .iter()
                .map(|(name, value)| {
                    (!value.contains('"')).then(|| format!("{{name: {name}, value: \"{value}\"}}, "))
                })
                .collect();
            return insert(first, items?.concat());
        }
        let last = report.offset(document.source.last_in(&list)?);
        let end = last + text[last..].find('\n')?;
        return insert(end, format!("\n{}", block(new, indent).trim_end_matches('\n')));
    }
    if report.contains(&list) {
        // An empty one.
        return None;
    }
    let field = pasted.field.rsplit('.').next()?.split('[').next()?;
    let key = format!("{}.{field}", pasted.path);
    let at = report.key(&key)?;
    let Position { line, column } = report.document?.source.key(&key);
    let written = report.source.lines.line(text, line);
    let before = written.get(..written.char_indices().nth(column - 1)?.0)?;
    if !before.chars().all(|c| c == ' ' || c == '-') {
        return None;
    }
    let indent = column - 1;
    // Comments above the field stay with it.
    let is_comment = |number: usize| {
        let above = report.source.lines.line(text, number);
        above.trim_start().starts_with('#') && above.len() - above.trim_start().len() == indent
    };
    if before.trim().is_empty() {
        let first = (1..line).rev().take_while(|number| is_comment(*number)).last().unwrap_or(line);
        let start = report.source.lines.start(first);
        return insert(start, format!("{}env:\n{}", " ".repeat(indent), block(new, indent + 2)));
    }
    insert(at, format!("env:\n{}{}", block(new, indent + 2), " ".repeat(indent)))
}

fn block(new: &[(&str, &str)], indent: usize) -> String {
    let indent = " ".repeat(indent);
    let lines = new.iter().map(|(name, value)| format!("{indent}- name: {name}\n{indent}  value: {value}\n"));
    lines.collect::<Vec<_>>().concat()
}
