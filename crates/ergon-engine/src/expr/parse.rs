//! Reading `$(…)` references out of text.

use std::fmt;

/// What `$(params.list[0])` names: a path of segments and what to take of the value there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reference {
    /// Such as `["tasks", "build", "results", "digest"]`. A name with dots is one segment: `params["a.b"]`.
    pub path: Vec<String>,
    pub tail: Tail,
}

/// What a reference takes of the value that its path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tail {
    /// The value itself.
    None,
    /// One item of an array, counted from 0.
    Index(usize),
    /// All of an array or an object.
    Star,
}

impl Reference {
    /// Reads what stands between `$(` and `)`; none where that is no reference, such as a shell's `$(date +%s)`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut path = Vec::new();
        let mut tail = Tail::None;
        let mut rest = text;
        loop {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (name, after) = rest.split_at(end);
            if !name.is_empty() || path.is_empty() {
                path.push(is_name(name).then(|| name.to_owned())?);
            }
            rest = after;
            while let Some(inner) = rest.strip_prefix('[') {
                // After an index or a star nothing more can follow.
                if tail != Tail::None {
                    return None;
                }
                let (item, after) = bracket(inner)?;
                match item {
                    Bracket::Name(name) => path.push(name),
                    Bracket::Tail(found) => tail = found,
                }
                rest = after;
            }
            match rest.strip_prefix('.') {
                Some(after) if tail == Tail::None && !after.is_empty() => rest = after,
                None if rest.is_empty() => return Some(Self { path, tail }),
                _ => return None,
            }
            if rest.starts_with(['.', '[']) {
                return None;
            }
        }
    }

    /// The segments as `&str`, for matching on slices.
    pub fn segments(&self) -> Vec<&str> {
        self.path.iter().map(String::as_str).collect()
    }
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, segment) in self.path.iter().enumerate() {
            if segment.contains('.') {
                write!(f, "[\"{segment}\"]")?;
            } else {
                write!(f, "{}{segment}", if at == 0 { "" } else { "." })?;
            }
        }
        match self.tail {
            Tail::None => Ok(()),
            Tail::Index(index) => write!(f, "[{index}]"),
            Tail::Star => write!(f, "[*]"),
        }
    }
}

/// A piece of a text: as it is, or a reference with the text it was read from (`$(` and `)` included).
pub(super) enum Piece<'a> {
    Text(&'a str),
    Reference { source: &'a str, reference: Reference },
}

/// Cuts a text into its pieces, in one pass: linear in its length, whatever it holds.
pub(super) fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut plain = 0;
    let mut at = 0;
    // Where the next `)` or line's end is: found once, not once for each `$(` before it.
    let mut close = 0;
    while let Some(found) = text[at..].find("$(") {
        let start = at + found;
        let inner = start + 2;
        at = inner;
        if close < inner {
            let Some(next) = text[inner..].find([')', '\n']) else { break };
            close = inner + next;
        }
        if text.as_bytes()[close] == b')'
            && close - inner <= MAX_REFERENCE
            && let Some(reference) = Reference::parse(&text[inner..close])
        {
            if plain < start {
                pieces.push(Piece::Text(&text[plain..start]));
            }
            pieces.push(Piece::Reference { source: &text[start..=close], reference });
            plain = close + 1;
            at = plain;
        }
    }
    if plain < text.len() {
        pieces.push(Piece::Text(&text[plain..]));
    }
    pieces
}

/// All references in a text, in order.
pub fn references(text: &str) -> Vec<Reference> {
    pieces(text)
        .into_iter()
        .filter_map(|piece| match piece {
            Piece::Reference { reference, .. } => Some(reference),
            Piece::Text(_) => None,
        })
        .collect()
}

/// Longer than any name chain that validation admits (four names of 253, and their separators). It bounds the work for
/// a text with many `$(` before one `)`.
const MAX_REFERENCE: usize = 1100;

enum Bracket {
    Name(String),
    Tail(Tail),
}

/// Reads `*]`, `0]`, `'name']` or `"name"]`, and gives what follows.
fn bracket(inner: &str) -> Option<(Bracket, &str)> {
    for quote in ['\'', '"'] {
        if let Some(quoted) = inner.strip_prefix(quote) {
            let end = quoted.find(quote)?;
            let after = quoted[end + 1..].strip_prefix(']')?;
            let name = &quoted[..end];
            return (!name.is_empty() && !name.contains(['(', ')', '$']))
                .then(|| (Bracket::Name(name.to_owned()), after));
        }
    }
    let (item, after) = inner.split_once(']')?;
    if item == "*" {
        return Some((Bracket::Tail(Tail::Star), after));
    }
    let digits = !item.is_empty() && item.bytes().all(|byte| byte.is_ascii_digit());
    let index = digits.then(|| item.parse().ok())??;
    Some((Bracket::Tail(Tail::Index(index)), after))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_in_all_notations() {
        for (text, expected) in [
            ("params.a", Some("params.a")),
            ("params['a']", Some("params.a")),
            ("params[\"a.b\"]", Some("params[\"a.b\"]")),
            ("params.a[0]", Some("params.a[0]")),
            ("params['a'][*]", Some("params.a[*]")),
            ("params.a.key", Some("params.a.key")),
            ("tasks.build.results.digest", Some("tasks.build.results.digest")),
            ("tasks.build.results['x.y'].key", Some("tasks.build.results[\"x.y\"].key")),
            ("results.r.path", Some("results.r.path")),
            ("date +%s", None),
            ("", None),
            ("params.", None),
            ("params..a", None),
            ("params.a[", None),
            ("params.a[x]", None),
            ("params.a[-1]", None),
            ("params.a[0].b", None),
            ("params.a[0][1]", None),
            ("params.a[*]x", None),
            ("params.a b", None),
        ] {
            assert_eq!(Reference::parse(text).map(|found| found.to_string()).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_text_is_cut_into_pieces_in_linear_time() {
        assert_eq!(references("a $(params.x)$(params.y) $(date) $((1+2)) $(params.z").len(), 3);
        assert_eq!(references("$($(params.x)").len(), 1);
        assert_eq!(references("é$(params.ü)$(params.x)é").len(), 1);
        let hostile = "$(".repeat(1 << 19);
        assert!(references(&hostile).is_empty());
        assert!(references(&"$(a".repeat(1 << 18)).is_empty());
    }
}
