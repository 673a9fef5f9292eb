//! Bounds that only a mistake of another order exceeds: the release build is held to a second for each of these.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use ergon_lint::{Options, Source, lint};

const BOUND: Duration = Duration::from_mins(1);

#[test]
fn a_thousand_files_and_a_thousand_tasks() {
    let begun = Instant::now();
    let sources: Vec<Source> = (0..1000)
        .map(|number| {
            let text = format!(
                "apiVersion: ergon.dev/v1\nkind: Task\nmetadata: {{name: t{number}}}\nspec:\n  params: [{{name: a}}]\n  \
                 steps:\n    - name: s\n      image: a:1\n      script: |\n        echo \"{{{{params.a}}}}\"\n"
            );
            Source::of(&format!("f{number}.yaml"), &text)
        })
        .collect();
    assert_eq!(lint(&sources, &[], &Options::default()), []);
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());

    let begun = Instant::now();
    let mut text =
        String::from("apiVersion: ergon.dev/v1\nkind: Pipeline\nmetadata: {name: p}\nspec:\n  tasks:\n");
    for number in 0..1000 {
        let _ = write!(
            text,
            "    - name: t{number}\n      timeout: 1m\n      taskRef: {{name: t{number}}}\n      params: [{{name: a, value: b}}]\n"
        );
        if number > 0 {
            let _ = writeln!(text, "      runAfter: [t{}]", number - 1);
        }
    }
    let pipeline = Source::of("p.yaml", &text);
    assert_eq!(lint(&[pipeline], &sources, &Options::default()), []);
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
}
