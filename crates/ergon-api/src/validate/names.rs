//! Rules for names, which come from Kubernetes and from the syntax of variables.

/// The longest name that fits into a label.
const MAX_LABEL: usize = 63;

/// A DNS label: lower-case letters, digits and `-`, not at the ends, at most 63. Otherwise, what to write.
pub(super) fn label(name: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    check(name, inner, "lower-case letters, digits and `-`")
}

/// The name of an object: labels with dots between, at most 63 characters together. Otherwise, what is wrong and what to
/// write.
pub(super) fn object_name(name: &str) -> Result<(), (String, String)> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    check(name, inner, "lower-case letters, digits, `-` and `.`").map_err(|help| {
        if name.len() > MAX_LABEL {
            ("Invalid resource name: length must be no more than 63 characters".to_owned(), help)
        } else {
            (format!("invalid resource name {name:?}: must be a valid DNS label"), help)
        }
    })
}

fn check(name: &str, allowed: impl Fn(char) -> bool, words: &str) -> Result<(), String> {
    if name.len() > MAX_LABEL {
        return Err(format!("it has {} characters, at most {MAX_LABEL} are allowed", name.len()));
    }
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let part = |part: &str| part.starts_with(edge) && part.ends_with(edge);
    if name.chars().all(allowed) && name.split('.').all(part) {
        Ok(())
    } else {
        Err(format!("use {words}, beginning and ending with a letter or digit"))
    }
}

/// A name with an optional prefix, as Kubernetes has it for labels: `example.com/name`.
pub(super) fn qualified(name: &str) -> bool {
    let (prefix, name) = name.split_once('/').map_or((None, name), |(prefix, name)| (Some(prefix), name));
    let edge = |c: char| c.is_ascii_alphanumeric();
    prefix.is_none_or(|prefix| object_name(prefix).is_ok())
        && name.len() <= MAX_LABEL
        && name.starts_with(edge)
        && name.ends_with(edge)
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// The name of a parameter: letters, digits, `_`, `-` and `.`, beginning with a letter or `_`.
pub(super) fn parameter(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// The name of an object parameter or of a key: as a parameter, without dots, which separate the two in a variable.
pub(super) fn object(name: &str) -> bool {
    parameter(name) && !name.contains('.')
}

/// The name of a result: letters, digits, `_`, `-` and `.`, beginning and ending with a letter or digit.
pub(super) fn result(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_alphanumeric();
    name.starts_with(edge)
        && name.ends_with(edge)
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}
