//! Manifests as the tests write them: YAML text to objects.

use anyhow::{Context as _, Result};
use ergon_api::Group;
use serde_json::Value;

/// The objects in a YAML text, in order.
///
/// # Errors
/// The text is no YAML.
pub fn documents(text: &str) -> Result<Vec<Value>> {
    let documents: Vec<Value> =
        serde_saphyr::from_multiple(text).with_context(|| format!("this is no YAML:\n{text}"))?;
    Ok(documents.into_iter().filter(|document| !document.is_null()).collect())
}

/// The text with its objects moved from `ergon.dev` to another group.
pub fn in_group(text: &str, group: Group) -> String {
    text.replace(Group::Ergon.api_version(), group.api_version())
}

/// The group of an object that is of one of ours.
pub fn group_of(object: &Value) -> Option<Group> {
    Group::of(object["apiVersion"].as_str()?)
}

/// What the comments at the top of a test's file say after `# <key>: `.
pub fn expectation<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines()
        .take_while(|line| line.starts_with('#'))
        .find_map(|line| line.strip_prefix("# ")?.strip_prefix(key)?.strip_prefix(": "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_at_the_top_tell_what_is_expected() {
        let text = "# expect: a word\n# log: b: c\nkind: Task\n# other: d\n";
        assert_eq!(expectation(text, "expect"), Some("a word"));
        assert_eq!(expectation(text, "log"), Some("b: c"));
        assert_eq!(expectation(text, "other"), None);
    }

    #[test]
    fn every_document_is_read() {
        let documents = documents("---\nkind: A\n---\nkind: B\n---\n").unwrap();
        let kinds: Vec<&str> = documents.iter().filter_map(|document| document["kind"].as_str()).collect();
        assert_eq!(kinds, ["A", "B"]);
    }
}
