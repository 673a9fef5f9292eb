//! What `ergon lint` has found, for people and for programs.

use std::fmt::Write as _;

use ergon_lint::{Finding, Level, Lines};
use serde_json::{Value, json};

use super::Style;

/// One finding: the message, the place, the line with a mark below, and what to write instead.
pub fn finding(finding: &Finding, text: &str, lines: &Lines, style: Style) -> String {
    let paint = |text: &str| match finding.level {
        Level::Error => style.red(text),
        Level::Warning => style.yellow(text),
        Level::Info => style.blue(text),
    };
    let head = paint(&format!("{}[{}]", finding.level, finding.rule.name));
    let mut out = format!("{head}: {}\n", style.bold(&finding.message));
    let number = finding.start.line.to_string();
    let margin = " ".repeat(number.len());
    let _ = writeln!(
        out,
        "{margin}{} {}:{}:{}",
        style.blue("-->"),
        finding.file,
        finding.start.line,
        finding.start.column
    );
    let bar = style.blue("|");
    let line = lines.line(text, finding.start.line);
    if !line.is_empty() {
        // A tab is one character wide here, so that the mark stands where the column says.
        let (shown, before) = excerpt(&line.replace('\t', " "), finding.start.column - 1);
        let width = shown.chars().count().saturating_sub(before);
        let length = if finding.end.line == finding.start.line {
            finding.end.column.saturating_sub(finding.start.column)
        } else {
            width
        };
        let _ = writeln!(out, "{margin} {bar}\n{} {bar} {}", style.blue(&number), shown.trim_end());
        let mark = "^".repeat(length.clamp(1, width.max(1)));
        let _ = writeln!(out, "{margin} {bar} {}{}", " ".repeat(before), paint(&mark));
    }
    if !finding.path.is_empty() {
        let _ = writeln!(out, "{margin} {} in `{}`", style.blue("="), finding.path);
    }
    if let Some(help) = &finding.help {
        let _ = writeln!(out, "{margin} {} {}: {help}", style.blue("="), style.bold("help"));
    }
    out
}

/// The part of a long line around a column, and how many characters of it are before that column.
fn excerpt(line: &str, column: usize) -> (String, usize) {
    const WIDTH: usize = 160;
    const BEFORE: usize = 60;
    if line.chars().count() <= WIDTH || column < BEFORE {
        return (line.chars().take(WIDTH.max(column + BEFORE)).collect(), column);
    }
    let from = column - BEFORE;
    (line.chars().skip(from).take(WIDTH).collect(), BEFORE)
}

/// All findings as data.
pub fn findings_json(files: usize, findings: &[&Finding]) -> Value {
    let count = |level| findings.iter().filter(|finding| finding.level == level).count();
    let list: Vec<Value> = findings
        .iter()
        .map(|finding| {
            json!({
                "rule": finding.rule.name,
                "level": finding.level.as_str(),
                "file": finding.file,
                "line": finding.start.line,
                "column": finding.start.column,
                "endLine": finding.end.line,
                "endColumn": finding.end.column,
                "path": finding.path,
                "message": finding.message,
                "help": finding.help,
                "fix": finding.fix.as_ref().map(|fix| json!({"title": fix.title, "sure": fix.is_sure})),
                "page": finding.rule.page(),
            })
        })
        .collect();
    json!({
        "files": files,
        "errors": count(Level::Error),
        "warnings": count(Level::Warning),
        "infos": count(Level::Info),
        "findings": list,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_cut_around_the_place() {
        let line = format!("{}x{}", "a".repeat(500), "b".repeat(500));
        let (shown, before) = excerpt(&line, 500);
        assert_eq!(shown.chars().nth(before), Some('x'));
        assert!(shown.len() <= 160);
        assert_eq!(excerpt("short", 2), ("short".to_owned(), 2));
    }
}
