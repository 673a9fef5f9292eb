//! Files that are made to do harm: a clear error with a place, in bounded time.

use std::time::{Duration, Instant};

use ergon_lint::{Options, Source, lint};

/// What is said of a file's bytes, and how long that took.
fn said(bytes: &[u8]) -> String {
    let begun = Instant::now();
    let found = lint(&[Source::read("f.yaml", bytes)], &[], &Options::default());
    let took = begun.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    let lines = found
        .iter()
        .map(|it| format!("{}:{}: {}: {}", it.start.line, it.start.column, it.rule.name, it.message));
    lines.collect::<Vec<_>>().join("\n")
}

fn task(rest: &str) -> Vec<u8> {
    format!("apiVersion: tekton.dev/v1\nkind: Task\nmetadata: {{name: t}}\nspec:\n{rest}").into_bytes()
}

#[test]
fn what_is_no_manifest_is_told_with_its_place() {
    let bomb = (1..12).fold("a0: &a0 [x, x, x, x, x, x, x, x]\n".to_owned(), |text, level| {
        format!("{text}a{level}: &a{level} [{}]\n", vec![format!("*a{}", level - 1); 9].join(", "))
    });
    for (bytes, wanted) in [
        ("[".repeat(200_000).into_bytes(), "1:"),
        (format!("{}x", "- ".repeat(150)).into_bytes(), "nested deeper than 100 levels"),
        (bomb.into_bytes(), "aliases repeat more than"),
        (b"a:\n\tb: 1\n".to_vec(), "2:2: syntax: not valid YAML"),
        (b"a: 1\nb: {c: 1, c: 2}\n".to_vec(), "2:11: syntax: duplicate field `c`"),
        (b"a: b\n  \xc3\xa9\xff".to_vec(), "2:4: syntax: the file is not UTF-8 text"),
        (vec![b'x'; (3 << 20) + 1], "the limit is"),
        (b"\xff\xfea\0:\0".to_vec(), "1:1: syntax: the file is not UTF-8 text"),
        (b"a: &x [*x]\n".to_vec(), "syntax: the alias stands inside"),
        (b"a: !secret x\n".to_vec(), "syntax: unknown tag"),
        (b"a: yes\n".to_vec(), "1:4: syntax: `yes` without quotes"),
        (b"\0\0\0".to_vec(), "syntax"),
    ] {
        let found = said(&bytes);
        assert!(
            found.contains(wanted),
            "{:?}: {found}",
            String::from_utf8_lossy(&bytes[..bytes.len().min(60)])
        );
    }
    assert_eq!(said(b""), "");
    assert_eq!(said(b"\xef\xbb\xbf# nothing\n"), "");
}

#[test]
fn large_texts_take_no_longer_than_they_are() {
    for script in ["$(params.x) ", "$(", "'$(params.x)' ", "\"${a:-$(params.x)}\" ", "cat <<E$(params.x) "] {
        let body = format!("  params: [{{name: x}}]\n  steps:\n  - image: a:1\n    script: '{}'\n", {
            script.repeat(20_000).replace('\'', "''")
        });
        said(&task(&body));
    }
    let many = (0..20_000).fold(String::from("  steps:\n"), |text, _| text + "  - {image: a}\n");
    let found = said(&task(&many));
    assert!(found.lines().count() <= 1000, "{}", found.lines().count());
}
