//! `$(NAME)` in a command, replaced from the environment by Kubernetes' rules, and references to what earlier steps
//! left, replaced by the values that the agent sent. What was put in is not read again.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use ergon_wire::ResultValue;

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

/// A word of a command: a reference to a whole list that stands alone becomes as many words as it has items.
pub(crate) fn words(
    text: &str,
    values: &BTreeMap<String, ResultValue>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Vec<OsString> {
    let alone = text.strip_prefix("$(").and_then(|inner| inner.strip_suffix(')'));
    if let Some(ResultValue::Array(items)) = alone.and_then(|name| values.get(name)) {
        return items.iter().map(OsString::from).collect();
    }
    vec![expand(text, |name| {
        values.get(name).map(|value| value.to_string().into()).or_else(|| variable(name))
    })]
}

/// The value of an environment variable with its references replaced; none where it has none.
pub(crate) fn variable(text: &str, values: &BTreeMap<String, ResultValue>) -> Option<String> {
    let mut replaced = String::new();
    let mut rest = text;
    let mut found = false;
    while let Some(at) = rest.find("$(") {
        let (plain, from) = rest.split_at(at);
        replaced.push_str(plain);
        let reference = from[2..].split_once(')').and_then(|(name, after)| Some((values.get(name)?, after)));
        if let Some((value, after)) = reference {
            found = true;
            replaced.push_str(&value.to_string());
            rest = after;
        } else {
            replaced.push_str(&from[..2]);
            rest = &from[2..];
        }
    }
    replaced.push_str(rest);
    found.then_some(replaced)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_once() {
        let values = BTreeMap::from([
            ("steps.a.results.r".to_owned(), ResultValue::String("$(A) $(steps.a.results.r)".to_owned())),
            ("steps.a.results.l[*]".to_owned(), ResultValue::Array(vec!["1".to_owned(), "2 3".to_owned()])),
        ]);
        let variable_a = |name: &str| (name == "A").then(|| OsString::from("a"));
        for (text, expected) in [
            ("<$(steps.a.results.r)>$(A)", vec!["<$(A) $(steps.a.results.r)>a"]),
            ("$(steps.a.results.l[*])", vec!["1", "2 3"]),
            ("all: $(steps.a.results.l[*])", vec![r#"all: ["1","2 3"]"#]),
            ("$(steps.b.results.r)$$", vec!["$(steps.b.results.r)$"]),
        ] {
            assert_eq!(words(text, &values, variable_a), expected, "{text}");
        }
        assert_eq!(
            variable("$$ $(A)=$(steps.a.results.r)", &values).unwrap(),
            "$$ $(A)=$(A) $(steps.a.results.r)"
        );
        assert_eq!(variable("$(A) $(", &values), None);
    }

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
