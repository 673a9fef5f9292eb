//! Values that are pasted into code: whoever chooses the value chooses what runs.

use std::ops::Range;

use ergon_api::language::{is_constrained, is_template, reference};
use ergon_api::variables::{Part, Variable, variables};
use ergon_api::{Group, ParamSpec, PipelineSpec, StepActionSpec, TaskSpec};
use ergon_template::{is_shell, pieces};

use super::code::{self, Code};
use super::inject_fix::{self, Pasted};
use crate::report::Report;
use crate::rule::SCRIPT_INJECTION;
use crate::spec::At;

pub(crate) fn task(report: &mut Report<'_>, at: &At<'_, TaskSpec>) {
    code::each(at, |path, code| check(report, at.group, path, code, at.inside));
}

pub(crate) fn action(report: &mut Report<'_>, at: &At<'_, StepActionSpec>) {
    check(report, at.group, &at.path, code::of_action(at), None);
}

fn check(report: &mut Report<'_>, group: Group, path: &str, code: Code<'_>, outer: Option<&PipelineSpec>) {
    if !report.wants(&SCRIPT_INJECTION) {
        return;
    }
    let is_open = |variable: &Variable| is_risky(variable, code.params, outer);
    // In a template `$(…)` is the shell's own, and tags are no text.
    if let Some(script) = code.script.filter(|script| group == Group::Tekton || !is_template(script)) {
        let found: Vec<Variable> = variables(script).into_iter().filter(|it| is_open(it)).collect();
        let pasted = Pasted { path, field: format!("{path}.script"), text: script, code };
        let (fix, mended) = match group {
            Group::Ergon => inject_fix::tags(report, &pasted),
            Group::Tekton => inject_fix::environment(report, &pasted, &found),
        };
        let how = how_to_write(script, group);
        for (variable, count) in counted(&found) {
            let fix = fix.clone().filter(|_| mended.contains(&variable.text));
            say(report, &pasted, &variable.text, &variable.place, count, &how, fix);
        }
    }
    if let Some((field, text)) = shell_code(path, &code) {
        let pasted = Pasted { path, field, text, code };
        let found: Vec<Variable> = variables(text).into_iter().filter(|it| is_open(it)).collect();
        let (fix, mended) = inject_fix::environment(report, &pasted, &found);
        let how =
            "hand it over in `env` and write \"$NAME\", or as an argument after the code and write \"$1\"";
        for (variable, count) in counted(&found) {
            let fix = fix.clone().filter(|_| mended.contains(&variable.text));
            say(report, &pasted, &variable.text, &variable.place, count, how, fix);
        }
        if group == Group::Ergon {
            for (name, variable) in tags(text) {
                if is_open(&variable) {
                    let at = text.find(&name).unwrap_or_default();
                    let how = "put the code in `script`, where a tag is safe";
                    say(report, &pasted, &name, &(at..at + name.len()), 1, how, None);
                }
            }
        }
    }
}

fn say(
    report: &mut Report<'_>,
    pasted: &Pasted<'_>,
    name: &str,
    place: &Range<usize>,
    count: usize,
    how: &str,
    fix: Option<crate::Fix>,
) {
    let often = if count > 1 { format!(" ({count} times)") } else { String::new() };
    let message =
        format!("the value of `{name}` is pasted into the code{often}: what is in it can run as a command");
    report
        .in_text(&SCRIPT_INJECTION, &pasted.field, pasted.text, place, message)
        .help(how.to_owned())
        .fix(fix);
}

/// Each variable once, with how often it is there.
fn counted(found: &[Variable]) -> Vec<(&Variable, usize)> {
    let mut counted: Vec<(&Variable, usize)> = Vec::new();
    for variable in found {
        match counted.iter_mut().find(|(known, _)| known.text == variable.text) {
            Some((_, count)) => *count += 1,
            None => counted.push((variable, 1)),
        }
    }
    counted
}

/// Whether somebody else than the author of the code chooses the value. Names that Kubernetes allows, and paths, hold
/// nothing that a shell reads.
fn is_risky(variable: &Variable, params: &[ParamSpec], outer: Option<&PipelineSpec>) -> bool {
    // A whole list is not put into a text.
    if variable.part == Part::All {
        return false;
    }
    match variable.names().as_slice() {
        ["params", name, ..] | ["inputs", "params", name, ..] => {
            let is_inner = params.iter().any(|param| param.name == *name);
            let declared = if is_inner { params } else { outer.map_or(&[][..], |outer| &outer.params) };
            !is_constrained(&variable.to_string().replace("$(inputs.", "$("), declared)
        }
        ["tasks" | "steps", _, "results" | "outputs", ..] => true,
        _ => false,
    }
}

fn how_to_write(script: &str, group: Group) -> String {
    let language = script.lines().next().unwrap_or_default();
    let read = if is_shell(script) {
        "\"$NAME\""
    } else if language.contains("python") {
        "os.environ[\"NAME\"]"
    } else if language.contains("node") {
        "process.env.NAME"
    } else if language.contains("ruby") {
        "ENV[\"NAME\"]"
    } else if language.contains("perl") {
        "$ENV{NAME}"
    } else {
        "the variable"
    };
    match group {
        Group::Ergon => {
            "write the references of this script with braces, as in `{{params.x}}`: a tag is never code"
                .to_owned()
        }
        Group::Tekton => format!("hand it over in `env` and read it there: {read}"),
    }
}

/// The code that `sh -c` is given, and its field.
fn shell_code<'a>(path: &str, code: &Code<'a>) -> Option<(String, &'a str)> {
    const SHELLS: [&str; 6] = ["sh", "bash", "dash", "ash", "zsh", "ksh"];
    let named = |list: &'static str| {
        move |(index, text): (usize, &'a String)| (format!("{path}.{list}[{index}]"), text)
    };
    let command = code.command.iter().enumerate().map(named("command"));
    let mut words = command.chain(code.args.iter().enumerate().map(named("args")));
    let is_shell = |word: &str| SHELLS.contains(&word.rsplit('/').next().unwrap_or_default());
    words.find(|(_, word)| is_shell(word))?;
    for (_, word) in words.by_ref() {
        let is_option = word.starts_with(['-', '+']);
        if is_option && !word.starts_with("--") && word.contains('c') {
            return words.next().map(|(field, text)| (field, text.as_str()));
        }
        // What an option such as `-o` takes is a word, too.
        if !is_option && word != "pipefail" {
            return None;
        }
    }
    None
}

/// The names of a text's tags, and what they refer to.
fn tags(text: &str) -> Vec<(String, Variable)> {
    let found = pieces(text).unwrap_or_default();
    let named = found.into_iter().filter_map(|piece| match piece {
        ergon_template::Piece::Name(used) => Some(used.name),
        ergon_template::Piece::Text(_) => None,
    });
    named
        .filter_map(|name| Some((variables(&reference(&name)?).into_iter().next()?, name)))
        .map(|(it, name)| (name, it))
        .collect()
}
