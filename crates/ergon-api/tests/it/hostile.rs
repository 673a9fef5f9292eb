//! Manifests that are made to cost much: read and checked, or refused, without a panic and in a time that only work
//! linear in their size keeps to.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ergon_api::{Document, parse};

/// Without optimization, on a busy machine, each takes a tenth of it; what is quadratic takes minutes.
const MOST: Duration = Duration::from_secs(10);

/// How many problems are found in a file.
fn problems(what: &str, text: &str) -> usize {
    let start = Instant::now();
    let count = match parse(text, "f") {
        Ok(documents) => documents.iter().map(Document::check).map(|problems| problems.len()).sum(),
        Err(problems) => problems.len(),
    };
    let took = start.elapsed();
    println!("{what}: {} bytes, {count} problems, {took:?}", text.len());
    assert!(took < MOST, "{what}: {took:?}");
    count
}

fn task(script: &str) -> String {
    let script = serde_json::to_string(script).unwrap();
    format!(
        "apiVersion: tekton.dev/v1\nkind: Task\nmetadata: {{name: t}}\nspec: {{params: [{{name: a}}], steps: [{{image: i, script: {script}}}]}}\n"
    )
}

fn lines(before: &str, count: usize, line: impl Fn(usize) -> String) -> String {
    let mut text = before.to_owned();
    for at in 0..count {
        writeln!(text, "{}", line(at)).unwrap();
    }
    text
}

#[test]
fn a_mebibyte_of_beginnings_of_references() {
    for part in ["$(", "$(params.", "$(params['", "$(a[", "$$", "$()", "$(params.a", "$(params.a\n"] {
        let text = part.repeat((1 << 20) / part.len());
        assert_eq!(problems(&format!("{part:?} often"), &task(&text)), 0);
        assert_eq!(problems(&format!("{part:?} often, closed"), &task(&format!("{text})"))), 0);
    }
    assert_eq!(problems("references", &task(&"$(params.a)".repeat(90_000))), 0);
    assert!(problems("unknown references", &task(&"$(params.b)".repeat(90_000))) > 0);
}

#[test]
fn ten_thousand_levels() {
    const DEEP: usize = 10_000;
    for (open, close) in
        [("[", "]"), ("{a: ", "}"), ("[{a: ", "}]"), ("- ", ""), ("? ", ""), ("{\"a\":[", "]}")]
    {
        let nested = open.repeat(DEEP);
        let closed = format!("{nested}1{}", close.repeat(DEEP));
        for (what, text) in [("open", &nested), ("closed", &closed)] {
            assert!(problems(&format!("{open:?} {what}"), text) > 0);
        }
        let inside = format!(
            "apiVersion: tekton.dev/v1\nkind: TaskRun\nmetadata: {{name: t}}\nspec:\n  params:\n  - name: p\n    value:\n      {closed}\n"
        );
        assert!(problems(&format!("{open:?} as a value"), &inside) > 0);
    }
}

#[test]
fn ten_thousand_params() {
    const MANY: usize = 10_000;
    let head =
        |kind: &str| format!("apiVersion: tekton.dev/v1\nkind: {kind}\nmetadata: {{name: x}}\nspec:\n");
    let declared = lines(
        &(head("Task") + "  steps: [{image: i, script: \"$(params.p1)$(params.p9999)\"}]\n  params:\n"),
        MANY,
        |at| format!("  - {{name: p{at}, default: d}}"),
    );
    assert_eq!(problems("declared", &declared), 0);
    let used = lines(&(declared + "  description: |\n"), MANY, |at| format!("    $(params.p{at})"));
    assert_eq!(problems("declared and described", &used), 0);
    let twice =
        lines(&(head("Task") + "  steps: [{image: i}]\n  params:\n"), MANY, |_| "  - {name: p}".into());
    assert!(problems("all the same", &twice) > 0);
    let given = lines(&(head("TaskRun") + "  taskRef: {name: t}\n  params:\n"), MANY, |at| {
        format!("  - {{name: p{at}, value: v}}")
    });
    assert_eq!(problems("given", &given), 0);
    let unknown = lines(&(head("Task") + "  steps:\n"), MANY, |at| {
        format!("  - {{image: i, script: $(params.u{at})}}")
    });
    assert!(problems("steps with unknown params", &unknown) > 0);
    let fields = lines(&head("Task"), MANY, |at| format!("  nofield{at}: 1"));
    assert!(problems("unknown fields", &fields) > 0);
}

#[test]
fn thousands_of_tasks() {
    const MANY: usize = 3000;
    let head = "apiVersion: tekton.dev/v1\nkind: Pipeline\nmetadata: {name: x}\nspec:\n  tasks:\n";
    let chain = lines(head, MANY, |at| {
        let after = if at == 0 { String::new() } else { format!(", runAfter: [t{}]", at - 1) };
        format!("  - {{name: t{at}, taskRef: {{name: t}}{after}}}")
    });
    assert_eq!(problems("a chain", &chain), 0);
    let results = lines(head, MANY, |at| {
        let value = if at == 0 { "v".to_owned() } else { format!("$(tasks.t{}.results.r)", at - 1) };
        format!("  - {{name: t{at}, taskRef: {{name: t}}, params: [{{name: p, value: {value}}}]}}")
    });
    assert_eq!(problems("a chain of results", &results), 0);
    let ring = lines(head, MANY, |at| {
        format!("  - {{name: t{at}, taskRef: {{name: t}}, runAfter: [t{}]}}", (at + 1) % MANY)
    });
    // Cycles are found in the engine; here a ring only must not cost more than a chain.
    assert_eq!(problems("a ring", &ring), 0);
    let matrix = format!(
        "{head}  - {{name: t, taskRef: {{name: t}}, matrix: {{params: [{}]}}}}\n",
        (0..20)
            .map(|at| format!("{{name: p{at}, value: [{}]}}", "v,".repeat(1000)))
            .collect::<Vec<_>>()
            .join(",")
    );
    assert!(problems("a matrix of 1000 to the 20th", &matrix) > 0);
}

#[test]
fn documents_that_repeat() {
    assert_eq!(problems("empty documents", &"---\n".repeat(100_000)), 0);
    let config = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n";
    assert_eq!(problems("documents", &format!("---\n{config}").repeat(3000)), 0);
    let mut doubled = "a0: &a0 [x]\n".to_owned();
    for at in 1..100 {
        writeln!(doubled, "a{at}: &a{at} [*a{0}, *a{0}]", at - 1).unwrap();
    }
    assert!(problems("aliases that double", &doubled) > 0);
    let anchors = lines("", 20_000, |at| format!("k{at}: &a{at} v"));
    assert_eq!(problems("anchors", &format!("{config}data: {{}}\n{anchors}")), 0);
    assert_eq!(problems("keys", &format!("{config}{}", lines("", 50_000, |at| format!("k{at}: v")))), 0);
    assert!(problems("a key often", &lines("", 50_000, |_| "k: v".into())) > 0);
    assert!(problems("a long key", &format!("{}: v", "k".repeat(1 << 20))) > 0);
    assert!(problems("quotes", &"'\"".repeat(1 << 19)) > 0);
    assert!(problems("spaces", &format!("a:\n{}b", " ".repeat(1 << 20))) > 0);
    assert!(problems("too large", &"a".repeat(4 << 20)) > 0);
}
