//! Rules for names, which come from Kubernetes and from the syntax of variables.

/// The longest name that fits into a label.
const MAX_LABEL: usize = 63;

/// A DNS label: lower-case letters, digits and `-`, not at the ends, at most 63.
pub(super) fn label(name: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    check(name, inner, "lower-case letters, digits and `-`")
}

/// A DNS subdomain that fits into a label: labels with dots between, at most 63 together.
pub(super) fn subdomain(name: &str) -> Result<(), String> {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '.';
    check(name, inner, "lower-case letters, digits, `-` and `.`")
}

fn check(name: &str, allowed: impl Fn(char) -> bool, words: &str) -> Result<(), String> {
    if name.len() > MAX_LABEL {
        return Err(format!(
            "invalid name `{name}`: {} characters, at most {MAX_LABEL} are allowed",
            name.len()
        ));
    }
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if name.chars().all(allowed) && name.starts_with(edge) && name.ends_with(edge) {
        Ok(())
    } else {
        Err(format!("invalid name `{name}`: use {words}, beginning and ending with a letter or digit"))
    }
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
