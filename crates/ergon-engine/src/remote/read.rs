//! From the bytes that a resolver fetched to a definition.

use ergon_api::manifest::Document;
use ergon_api::{Config, Diagnostic, Group, Object, RefSource, SetDefaults};

use super::{Failure, Found};

/// Reads what was fetched: its first object, as the one that the reference is to.
///
/// # Errors
/// Text that is no manifest of ours, and objects that are not valid.
pub fn read(data: &[u8], name: &str, source: Option<RefSource>, config: &Config) -> Result<Found, Failure> {
    let documents =
        ergon_api::parse_bytes(data, name).map_err(|problems| Failure::Unreadable(told(&problems)))?;
    let Some(mut document) = documents.into_iter().next() else {
        return Err(Failure::Unreadable(format!("{name} is empty")));
    };
    default(&mut document, config);
    let problems = document.check_with(config);
    if !problems.is_empty() {
        return Err(Failure::Invalid(told(&problems)));
    }
    Ok(Found { object: document.object, source })
}

/// Whether what was fetched may be shown to whoever reads ResolutionRequests: a definition or a run of Tekton's, and not
/// a Secret, say, or a token. Else, in Tekton's words, why not.
///
/// # Errors
/// Anything that is no object of one of these kinds.
pub fn may_be_shown(data: &[u8]) -> Result<(), String> {
    const KINDS: [&str; 7] = ["PipelineRun", "Pipeline", "TaskRun", "Task", "Run", "CustomRun", "StepAction"];
    let text = std::str::from_utf8(data).map_err(|error| format!("decoding error: {error}"))?;
    // The problem may quote what is not to be shown.
    let head = ergon_api::manifest::head(text).map_err(|_| "decoding error: it is no YAML".to_owned())?;
    let is_ours = |(version, kind): (String, String)| {
        version.split_once('/').is_some_and(|(group, _)| group == Group::Tekton.name())
            && KINDS.contains(&kind.as_str())
    };
    if head.is_some_and(is_ours) {
        return Ok(());
    }
    let (group, kinds) = (Group::Tekton.name(), KINDS.join(" "));
    Err(format!("resolved data is not of a supported type, must be of Group: {group}, Kinds: [{kinds}]"))
}

fn default(document: &mut Document, config: &Config) {
    match &mut document.object {
        Object::Task(task) => {
            let group = task.group();
            task.metadata.owner_references = None;
            task.set_defaults(group, config);
        }
        Object::Pipeline(pipeline) => {
            let group = pipeline.group();
            pipeline.metadata.owner_references = None;
            pipeline.set_defaults(group, config);
        }
        Object::StepAction(action) => {
            let group = Group::of(&action.api_version).unwrap_or_default();
            action.metadata.owner_references = None;
            action.set_defaults(group, config);
        }
        _ => {}
    }
}

fn told(problems: &[Diagnostic]) -> String {
    let mut told: Vec<String> = problems.iter().map(ToString::to_string).collect();
    // Nobody reads more than a few at once, and a condition's message has its limit.
    let more = told.len().saturating_sub(5);
    told.truncate(5);
    if more > 0 {
        told.push(format!("and {more} more"));
    }
    told.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_definitions_and_runs_may_be_shown() {
        for (text, may) in [
            ("apiVersion: tekton.dev/v1\nkind: Task", true),
            ("{\"apiVersion\": \"tekton.dev/v1beta1\", \"kind\": \"StepAction\"}", true),
            ("apiVersion: tekton.dev/v1\nkind: Secret", false),
            ("apiVersion: v1\nkind: Task", false),
            ("{\"access_token\": \"x\"}", false),
            ("a: [", false),
            ("", false),
        ] {
            let told = may_be_shown(text.as_bytes());
            assert_eq!(told.is_ok(), may, "{text}: {told:?}");
        }
    }

    #[test]
    fn the_first_object_counts_and_mistakes_have_their_place() {
        let task = "apiVersion: tekton.dev/v1\nkind: Task\nmetadata: {name: t}\nspec:\n  params: [{name: p}]\n  steps: [{image: i, script: s}]\n";
        let found = read(
            format!("---\n{task}---\napiVersion: v1\nkind: ConfigMap\n").as_bytes(),
            "t.yaml",
            None,
            &Config::default(),
        );
        let Object::Task(found) = found.unwrap().object else { panic!("no Task") };
        assert!(found.spec.params[0].type_.is_some(), "with its defaults");
        for (text, expected) in [
            ("", Failure::Unreadable("t.yaml is empty".to_owned())),
            (
                "<html>",
                Failure::Unreadable("t.yaml:1:1: expected an object with `apiVersion` and `kind`".to_owned()),
            ),
        ] {
            assert_eq!(read(text.as_bytes(), "t.yaml", None, &Config::default()), Err(expected));
        }
        let wrong = task.replace("script: s", "script: s, command: [c]");
        assert!(
            read(wrong.as_bytes(), "t.yaml", None, &Config::default())
                .is_err_and(|failure| failure.is_of_object())
        );
    }
}
