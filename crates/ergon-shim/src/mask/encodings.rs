//! The texts that a secret may show itself in: as it is, and as programs usually write it.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// Shorter texts are in too many others to mask them.
const SHORTEST: usize = 3;
/// The shortest line of a secret of several lines that is masked alone.
const SHORTEST_LINE: usize = 8;
/// The shortest part of a base64 text that is looked for.
const SHORTEST_PART: usize = 6;

/// The texts of all of these, those first that matter most.
pub(super) fn all(values: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut texts = Vec::new();
    let values: Vec<&[u8]> = values.iter().flat_map(|value| [value.as_slice(), trimmed(value)]).collect();
    texts.extend(values.iter().map(|value| value.to_vec()));
    let lines = values.iter().flat_map(|value| value.split(|byte| *byte == b'\n'));
    let lines: Vec<&[u8]> = lines.map(trimmed).filter(|line| line.len() >= SHORTEST_LINE).collect();
    texts.extend(lines.iter().map(|line| line.to_vec()));
    for value in &values {
        texts.extend(base64(value));
    }
    for text in values.iter().chain(&lines) {
        texts.extend(escaped(text));
    }
    let mut seen = BTreeSet::new();
    texts.retain(|text| text.len() >= SHORTEST && seen.insert(text.clone()));
    texts
}

/// Without the line break at its end, which most programs leave out.
fn trimmed(value: &[u8]) -> &[u8] {
    let end = value.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |at| at + 1);
    &value[..end]
}

/// In base64: alone, with line breaks as tools make them, and inside of other data, wherever it begins there.
fn base64(value: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    if value.len() < SHORTEST {
        return found;
    }
    for engine in [&STANDARD, &URL_SAFE] {
        let whole = engine.encode(value);
        for width in [64, 76] {
            let lines: Vec<&[u8]> = whole.as_bytes().chunks(width).collect();
            found.push(lines.join(&b'\n'));
        }
        found.push(whole.into_bytes());
        for shift in 0..3 {
            let shifted = engine.encode([&[0; 2][..shift], value].concat());
            // Characters at both ends have bits of what stands around.
            let start = [0, 2, 3][shift];
            let end = (shift + value.len()) * 8 / 6;
            let part = shifted.as_bytes().get(start..end).unwrap_or_default();
            if part.len() >= SHORTEST_PART {
                found.push(part.to_vec());
            }
        }
    }
    found
}

/// As URLs, JSON, shells and hexadecimal dumps have it.
fn escaped(value: &[u8]) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for also_plain in ["", "/", "!'()*", "!'()*/;,?:@&=+$#"] {
        for upper in [true, false] {
            found.push(url(value, also_plain, upper, "%20"));
            found.push(url(value, also_plain, upper, "+"));
        }
    }
    if let Ok(text) = std::str::from_utf8(value) {
        for (ascii, html, slash) in [
            (false, false, false),
            (false, false, true),
            (true, false, false),
            (false, true, false),
            (true, true, true),
        ] {
            found.push(json(text, ascii, html, slash).into_bytes());
        }
        for quoted in shell(text) {
            found.push(quoted.into_bytes());
        }
    }
    found.push(value.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect());
    found.push(value.iter().flat_map(|byte| format!("{byte:02X}").into_bytes()).collect());
    found
}

fn url(value: &[u8], also_plain: &str, upper: bool, space: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for &byte in value {
        if byte == b' ' {
            out.extend_from_slice(space.as_bytes());
        } else if byte.is_ascii_alphanumeric()
            || b"-._~".contains(&byte)
            || also_plain.as_bytes().contains(&byte)
        {
            out.push(byte);
        } else if upper {
            out.extend_from_slice(format!("%{byte:02X}").as_bytes());
        } else {
            out.extend_from_slice(format!("%{byte:02x}").as_bytes());
        }
    }
    out
}

/// Inside of a JSON text. `ascii`: other characters are escaped, as Python does; `html`: as Go does; `slash`: as PHP does.
fn json(text: &str, ascii: bool, html: bool, slash: bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{8}' => out.push_str("\\b"),
            '\u{c}' => out.push_str("\\f"),
            '/' if slash => out.push_str("\\/"),
            c if c < ' ' || (html && "<>&".contains(c)) || (ascii && !c.is_ascii()) => {
                let mut units = [0; 2];
                for unit in c.encode_utf16(&mut units) {
                    let _ = write!(out, "\\u{unit:04x}");
                }
            }
            c => out.push(c),
        }
    }
    out
}

/// As shells and their users quote it: in single quotes, in double quotes, with backslashes, and in `$'…'`.
fn shell(text: &str) -> Vec<String> {
    let escape = |special: &str| -> String {
        let with = |c: char| if special.contains(c) { format!("\\{c}") } else { c.to_string() };
        text.chars().map(with).collect()
    };
    let ansi = |c: char| match c {
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        '\r' => "\\r".to_owned(),
        '\\' | '\'' => format!("\\{c}"),
        c if c < ' ' || c == '\u{7f}' => format!("\\{:03o}", c as u32),
        c => c.to_string(),
    };
    vec![
        text.replace('\'', "'\\''"),
        text.replace('\'', "'\"'\"'"),
        escape("\"\\$`"),
        escape("\"\\$`!"),
        escape(" \t!\"#$&'()*,;<>?[\\]^`{|}"),
        escape(" \t!\"#$&'()*,;<=>?[\\]^`{|}~"),
        text.chars().map(ansi).collect(),
    ]
}

/// How other programs would show a secret, for tests: written anew, as far as that can be.
#[cfg(test)]
pub(super) fn samples(value: &[u8]) -> Vec<(&'static str, Vec<u8>)> {
    let text = String::from_utf8_lossy(value).into_owned();
    let json = serde_json::to_string(&text).unwrap_or_default();
    let percent = |plain: &dyn Fn(u8) -> bool| -> Vec<u8> {
        value
            .iter()
            .flat_map(|&byte| if plain(byte) { vec![byte] } else { format!("%{byte:02X}").into_bytes() })
            .collect()
    };
    vec![
        ("literal", value.to_vec()),
        ("base64", STANDARD.encode(value).into_bytes()),
        ("base64 for URLs", URL_SAFE.encode(value).into_bytes()),
        ("url", percent(&|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte))),
        ("url, a path", percent(&|byte| byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte))),
        ("json", json.as_bytes()[1..json.len() - 1].to_vec()),
        ("single quotes", format!("'{}'", text.replace('\'', "'\\''")).into_bytes()),
        ("hexadecimal", value.iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect()),
    ]
}
