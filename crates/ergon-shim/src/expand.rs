//! `$(NAME)` in a command, replaced from the environment by Kubernetes' rules.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// Replaces each `$(NAME)` that `lookup` knows; an unknown one stays as it is, and `$$` stands for `$`.
pub(crate) fn expand(text: &str, lookup: impl Fn(&str) -> Option<OsString>) -> OsString {
    let mut expanded: Vec<u8> = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        let (plain, from) = rest.split_at(at);
        expanded.extend_from_slice(plain.as_bytes());
        let after = &from[1..];
        if let Some(after) = after.strip_prefix('$') {
            expanded.push(b'$');
            rest = after;
        } else if let Some((name, after)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match lookup(name) {
                Some(value) => expanded.extend_from_slice(&value.into_vec()),
                None => expanded.extend_from_slice(&from.as_bytes()[..name.len() + 3]),
            }
            rest = after;
        } else {
            expanded.push(b'$');
            rest = after;
        }
    }
    expanded.extend_from_slice(rest.as_bytes());
    OsString::from_vec(expanded)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_replaced_as_kubernetes_does_it() {
        let lookup = |name: &str| match name {
            "A" => Some(OsString::from("1 $(B)")),
            "EMPTY" => Some(OsString::new()),
            "a b" => Some(OsString::from("odd")),
            _ => None,
        };
        for (text, expected) in [
            ("", ""),
            ("plain", "plain"),
            ("$(A)", "1 $(B)"),
            ("x$(A)y$(EMPTY)z", "x1 $(B)yz"),
            ("$(UNKNOWN)-$(A)", "$(UNKNOWN)-1 $(B)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1 $(B)"),
            ("$$$$(A)", "$$(A)"),
            ("a$$b", "a$b"),
            ("$A ${A} $", "$A ${A} $"),
            ("$(A", "$(A"),
            ("$()", "$()"),
            ("$(a b)", "odd"),
            ("é$é$(A)é", "é$é1 $(B)é"),
            ("$($(A))", "$($(A))"),
        ] {
            assert_eq!(expand(text, lookup), OsString::from(expected), "{text}");
        }
    }
}
