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
