//! Tags under `ergon.dev`: what is checked has references in their place, and what is said of it has tags again.

use super::Errors;
use crate::Group;
use crate::language::Tags;

/// Checks an object whose tags are read first.
pub(super) fn read<T: Clone>(
    errors: &mut Errors,
    object: &T,
    read: impl FnOnce(&mut T) -> Tags,
    check: impl FnOnce(&mut Errors, &T),
) {
    if errors.group != Group::Ergon {
        return check(errors, object);
    }
    let mut object = object.clone();
    let tags = read(&mut object);
    let before = errors.found.len();
    check(errors, &object);
    for error in &mut errors.found[before..] {
        if tags.fields.contains(&error.path) {
            error.message = with_tags(&error.message);
            error.help = error.help.take().map(|help| with_tags(&help));
        }
    }
    tags.errors.into_iter().for_each(|error| errors.push(error));
}

/// A text for people in which references are tags.
pub(super) fn with_tags(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("$(") {
        let Some((inner, after)) = after.split_once(')') else { break };
        written += &format!("{before}{{{{{inner}}}}}");
        rest = after;
    }
    written + rest
}
