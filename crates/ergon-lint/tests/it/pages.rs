//! `docs/lint` has a page for each rule, whose bad examples are found and whose good ones are not.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use ergon_lint::{Finding, Options, RULES, Source, lint};

fn found(text: &str) -> Vec<Finding> {
    lint(&[Source::of("page.yaml", text)], &[], &Options::default())
}

/// The fenced blocks that begin with this line.
fn blocks<'t>(page: &'t str, head: &str) -> Vec<&'t str> {
    let begin = format!("```{head}\n");
    page.split(begin.as_str()).skip(1).filter_map(|rest| rest.split("```").next()).collect()
}

#[test]
fn each_rule_has_a_page_that_is_true() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/lint");
    let pages: BTreeSet<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    let wanted: BTreeSet<String> = RULES.iter().map(|rule| format!("{}.md", rule.name)).collect();
    assert_eq!(pages, wanted);
    let index = fs::read_to_string(folder.join("../lint.md")).unwrap();
    for rule in RULES {
        let page = fs::read_to_string(folder.join(format!("{}.md", rule.name))).unwrap();
        let head = format!("# {}\n\n**{}**: {}.", rule.name, rule.level, rule.summary);
        assert!(page.starts_with(&head), "{}: begins with\n{head}", rule.name);
        let row = format!("| [{0}](lint/{0}.md) | {1} | {2} |", rule.name, rule.level, rule.summary);
        assert!(index.contains(&row), "docs/lint.md lacks\n{row}");
        let (bad, good) = (blocks(&page, "yaml bad"), blocks(&page, "yaml good"));
        assert!(!bad.is_empty() && !good.is_empty(), "{}: no examples", rule.name);
        for text in bad {
            let found = found(text);
            assert!(found.iter().any(|it| it.rule == *rule), "{}: not found in\n{text}{found:#?}", rule.name);
        }
        for text in good {
            assert_eq!(found(text), [], "{}:\n{text}", rule.name);
        }
    }
}
