//! The rules: their names, their levels, and what they are about. Each has a page in `docs/lint`.

use crate::Level;

/// A rule.
#[derive(Debug, PartialEq, Eq)]
pub struct Rule {
    /// The name, as it is written in `# ergon-lint: ignore=<name>`.
    pub name: &'static str,
    /// How bad what it finds is, where nothing else is said.
    pub level: Level,
    /// What it finds, in a few words.
    pub summary: &'static str,
    /// The API server or the controller refuses what it finds, so that it cannot be ignored.
    pub is_refused: bool,
}

impl Rule {
    /// The rule of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        RULES.iter().copied().find(|rule| rule.name == name)
    }

    /// Its page, from the root of the repository.
    pub fn page(&self) -> String {
        format!("docs/lint/{}.md", self.name)
    }
}

macro_rules! rules {
    ($($constant:ident $name:literal $level:ident $is_refused:literal $summary:literal;)*) => {
        $(pub(crate) static $constant: Rule =
            Rule { name: $name, level: Level::$level, summary: $summary, is_refused: $is_refused };)*

        /// All rules, by name.
        pub static RULES: &[&Rule] = &[$(&$constant),*];
    };
}

rules! {
    CYCLE "cycle" Error true "tasks that wait for each other";
    DEPRECATED "deprecated" Warning false "what has another name today, or none";
    DUPLICATE_NAME "duplicate-name" Warning false "two objects of one kind with one name";
    INVALID "invalid" Error true "what the webhook refuses";
    MISSING_PARAM "missing-param" Error true "a parameter without a value";
    MISSING_TIMEOUT "missing-timeout" Info false "tasks that may hang for as long as the default says";
    MISSING_WORKSPACE "missing-workspace" Error true "a workspace that nobody provides";
    PRIVILEGED "privileged" Warning false "steps that may do all that their node may";
    RAW_EXPRESSION "raw-expression" Warning false "values that become a part of a script as they are";
    ROOT "root" Info false "steps that run as root";
    SCHEMA "schema" Error true "fields that do not exist, and values of a wrong type";
    SCRIPT_INJECTION "script-injection" Warning false "values that are pasted into code";
    SYNTAX "syntax" Error true "what is no YAML";
    TYPE_MISMATCH "type-mismatch" Error true "a value of another type than its parameter";
    UNKNOWN_IGNORE "unknown-ignore" Warning false "a comment that ignores a rule that there is not";
    UNKNOWN_PARAM "unknown-param" Warning false "a value for a parameter that is not declared";
    UNKNOWN_REFERENCE "unknown-reference" Info false "a reference to what is not in the files";
    UNKNOWN_RESULT "unknown-result" Error true "a result that the other task does not have";
    UNKNOWN_WORKSPACE "unknown-workspace" Warning false "a workspace that is not declared";
    UNPINNED_IMAGE "unpinned-image" Warning false "images that may be another one tomorrow";
    UNREACHABLE "unreachable" Warning false "tasks that can never run";
    UNUSED_PARAM "unused-param" Warning false "parameters that nothing uses";
    UNUSED_WORKSPACE "unused-workspace" Warning false "workspaces that nothing uses";
    UNWRITTEN_RESULT "unwritten-result" Warning false "results that no step writes";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_in_order_and_found() {
        assert!(RULES.is_sorted_by_key(|rule| rule.name));
        assert_eq!(Rule::named("syntax"), Some(&SYNTAX));
        assert_eq!(Rule::named("none"), None);
    }
}
