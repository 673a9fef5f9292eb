//! Findings in the Static Analysis Results Interchange Format, 2.1.0.

use ergon_lint::{Finding, Level, Lines, RULES};
use serde_json::{Value, json};

use crate::uri::reference;

/// One run of the linter. `text_of` gives the text of a file, for the places of fixes.
pub fn sarif<'t>(findings: &[&Finding], text_of: &dyn Fn(&str) -> Option<(&'t str, &'t Lines)>) -> Value {
    let rules: Vec<Value> = RULES
        .iter()
        .map(|rule| {
            json!({
                "id": rule.name,
                "shortDescription": {"text": rule.summary},
                "help": {"text": format!("See {}", rule.page())},
                "defaultConfiguration": {"level": level(rule.level)},
            })
        })
        .collect();
    let results: Vec<Value> = findings.iter().map(|finding| result(finding, text_of)).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {"name": "ergon lint", "version": env!("CARGO_PKG_VERSION"), "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": results,
        }],
    })
}

fn result<'t>(finding: &Finding, text_of: &dyn Fn(&str) -> Option<(&'t str, &'t Lines)>) -> Value {
    let message = match &finding.help {
        Some(help) => format!("{}; {help}", finding.message),
        None => finding.message.clone(),
    };
    let artifact = json!({"uri": reference(&finding.file)});
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": artifact,
            "region": {
                "startLine": finding.start.line,
                "startColumn": finding.start.column,
                "endLine": finding.end.line,
                "endColumn": finding.end.column,
            },
        },
    });
    if !finding.path.is_empty() {
        location["logicalLocations"] = json!([{"fullyQualifiedName": finding.path}]);
    }
    let mut result = json!({
        "ruleId": finding.rule.name,
        "ruleIndex": RULES.iter().position(|rule| rule.name == finding.rule.name),
        "level": level(finding.level),
        "message": {"text": message},
        "locations": [location],
    });
    if let (Some(fix), Some((text, lines))) = (&finding.fix, text_of(&finding.file)) {
        let replacements: Vec<Value> = fix
            .edits
            .iter()
            .map(|edit| {
                let (start, end) =
                    (lines.position(text, edit.range.start), lines.position(text, edit.range.end));
                json!({
                    "deletedRegion": {
                        "startLine": start.line, "startColumn": start.column,
                        "endLine": end.line, "endColumn": end.column,
                    },
                    "insertedContent": {"text": edit.text},
                })
            })
            .collect();
        result["fixes"] = json!([{
            "description": {"text": fix.title},
            "artifactChanges": [{"artifactLocation": artifact, "replacements": replacements}],
        }]);
    }
    result
}

fn level(level: Level) -> &'static str {
    match level {
        Level::Info => "note",
        Level::Warning => "warning",
        Level::Error => "error",
    }
}
