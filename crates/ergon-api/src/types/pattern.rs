//! Patterns of texts: regular expressions that the whole text has to match.

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Class, Hir, HirKind};

/// The longest pattern, in bytes.
const LONGEST: usize = 1024;
/// What a pattern may take in memory. Matching takes time in proportion to the text, whatever the pattern.
const MOST_MEMORY: usize = 256 << 10;
/// How deep groups may be in each other.
const DEEPEST: u32 = 32;

/// The pattern, anchored at both ends.
///
/// # Errors
/// Why it is none, as a fragment.
pub(super) fn compile(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > LONGEST {
        return Err(format!("it has more than {LONGEST} bytes"));
    }
    // The pattern alone first: with something around it, `a)(b` would be one.
    parse(pattern)?;
    build(&format!("\\A(?:{pattern})\\z"))
}

/// The pattern, which matches if any part of a text does.
///
/// # Errors
/// Why it is none, as a fragment.
pub(super) fn compile_part(pattern: &str) -> Result<Regex, String> {
    if pattern.len() > LONGEST {
        return Err(format!("it has more than {LONGEST} bytes"));
    }
    parse(pattern)?;
    build(pattern)
}

fn build(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(MOST_MEMORY).nest_limit(DEEPEST + 2).build().map_err(|error| {
        match error {
            regex::Error::CompiledTooBig(_) => "it is too large".to_owned(),
            error => first_line(&error.to_string()),
        }
    })
}

/// What is wrong with a pattern; none where it is one.
pub(crate) fn problem(pattern: &str) -> Option<String> {
    compile(pattern).err()
}

/// Whether whatever the pattern matches is harmless text in any language: letters, digits and some signs that no shell
/// and no program reads as code, and no space.
pub(crate) fn is_plain(pattern: &str) -> bool {
    parse(pattern).is_ok_and(|hir| is_harmless(&hir)) && compile(pattern).is_ok()
}

fn parse(pattern: &str) -> Result<Hir, String> {
    let mut parser = regex_syntax::ParserBuilder::new().nest_limit(DEEPEST).build();
    parser.parse(pattern).map_err(|error| match error {
        regex_syntax::Error::Parse(error) => {
            let span = error.span();
            format!("at column {}: {}", span.start.column, error.kind())
        }
        regex_syntax::Error::Translate(error) => {
            format!("at column {}: {}", error.span().start.column, error.kind())
        }
        _ => "it is no regular expression".to_owned(),
    })
}

fn first_line(text: &str) -> String {
    text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
}

fn is_harmless(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => true,
        HirKind::Literal(literal) => literal.0.iter().all(|byte| is_harmless_byte(*byte)),
        HirKind::Class(Class::Unicode(class)) => class.ranges().iter().all(|range| {
            range.end().is_ascii() && (range.start()..=range.end()).all(|c| is_harmless_byte(c as u8))
        }),
        HirKind::Class(Class::Bytes(class)) => {
            class.ranges().iter().all(|range| (range.start()..=range.end()).all(is_harmless_byte))
        }
        HirKind::Repetition(repetition) => is_harmless(&repetition.sub),
        HirKind::Capture(capture) => is_harmless(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().all(is_harmless),
    }
}

fn is_harmless_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.:/@+,%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_text_has_to_match() {
        for (pattern, text, wanted) in [
            ("[a-z]+", "abc", true),
            ("[a-z]+", "abc\n", false),
            ("a|b", "ab", false),
            ("a|b", "b", true),
            ("^a$", "a", true),
            ("", "", true),
            ("", "a", false),
            ("(?i)abc", "ABC", true),
            ("(?x)a b", "ab", true),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(text), wanted, "{pattern} {text:?}");
        }
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        for (pattern, wanted) in [
            ("a(", "at column 2: unclosed group"),
            ("a)(b", "at column 2: unopened group"),
            ("(?=a)", "at column 1: look-around, including look-ahead and look-behind, is not supported"),
            (r"(a)\1", "at column 4: backreferences are not supported"),
            ("((a{100}){100}){100}", "it is too large"),
            (&"(".repeat(2000), "it has more than 1024 bytes"),
        ] {
            assert_eq!(problem(pattern).as_deref(), Some(wanted), "{pattern}");
        }
        assert!(problem(&"(".repeat(1000)).is_some());
    }

    #[test]
    fn what_can_only_be_plain_text_is_known() {
        for (pattern, wanted) in [
            ("[a-z0-9.-]+", true),
            ("v[0-9]+(\\.[0-9]+)*|latest", true),
            ("[a-z ]+", false),
            (".*", false),
            ("[^;]+", false),
            (r"\d+", false),
            (r"(?-u)\d+", true),
            (r"\w+", false),
            ("a;b", false),
            ("[a-z]+(", false),
        ] {
            assert_eq!(is_plain(pattern), wanted, "{pattern}");
        }
    }
}
