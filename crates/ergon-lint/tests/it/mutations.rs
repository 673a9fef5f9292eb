//! Files that somebody is in the middle of writing: whatever they hold, there is an answer.

use std::fs;
use std::path::Path;

use ergon_lint::assist::{complete, define, hover};
use ergon_lint::{Options, Set, Source, lint_one, mend};

/// A small generator: the same numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % (most.max(1) as u64)).unwrap_or_default()
    }
}

#[test]
fn there_is_an_answer_to_every_text() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files = Vec::new();
    for folder in fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.is_dir())
    {
        files.extend(fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()));
    }
    files.retain(|path| path.extension().is_some_and(|end| end == "yaml"));
    files.sort();
    let put = [
        "",
        "",
        "{{",
        "}}",
        "{{{params.x}}}",
        "$(params.x)",
        "$(",
        ")",
        "\n",
        ": ",
        "- ",
        "'",
        "\"",
        "|\n",
        "&a ",
        "*a",
        "\t",
        "\u{1f600}",
        "name: ",
        "script: |",
        "# ergon-lint: ignore=",
        "\r\n",
        "é",
        "[",
        "{",
        ">-\n",
    ];
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let options = Options::default();
    for _ in 0..1500 {
        let before = fs::read_to_string(&files[numbers.below(files.len())]).unwrap();
        let mut text = before.clone();
        for _ in 0..=numbers.below(4) {
            let ends: Vec<usize> = text.char_indices().map(|(at, _)| at).chain([text.len()]).collect();
            let start = numbers.below(ends.len());
            let end = (start + numbers.below(30)).min(ends.len() - 1);
            text.replace_range(ends[start]..ends[end], put[numbers.below(put.len())]);
        }
        let (whole, source) = (Source::of("f.yaml", &before), Source::of("f.yaml", &text));
        let set = Set::of([&source].into_iter());
        for found in lint_one(&source, &set, &options) {
            assert!(found.start <= found.end && found.end.line <= source.lines.count(), "{found:?}\n{text}");
        }
        if let Some(fixed) = mend(&source, &set, &options) {
            let now = Source::of("f.yaml", &fixed.text);
            assert!(now.problems.len() <= source.problems.len(), "{text}\n=>\n{}", fixed.text);
        }
        for _ in 0..4 {
            let ends: Vec<usize> =
                source.text.char_indices().map(|(at, _)| at).chain([source.text.len()]).collect();
            let at = source.lines.position(&source.text, ends[numbers.below(ends.len())]);
            for item in complete(&source, &whole, &set, at) {
                assert!(source.text.get(item.range.clone()).is_some(), "{item:?}\n{text}");
            }
            let _ = (hover(&source, &set, at), define(&source, &set, at));
        }
    }
}
