//! How long and how deep an expression is, before it is parsed.

/// A bracket counts as so many operators.
const BRACKET: usize = 3;

/// What the parser will meet, seen from outside.
#[derive(Debug, Default)]
pub(super) struct Shape {
    /// Bytes outside of texts in quotes. Where quotes are not closed, this is more rather than less.
    pub code: usize,
    /// How deep the parsed expression can be.
    pub depth: usize,
}

/// What was read of one bracket's inside: operators in the part that is being read, and in the deepest part.
#[derive(Debug, Default, Clone, Copy)]
struct Level {
    now: usize,
    deepest: usize,
}

impl Level {
    fn add(&mut self, depth: usize) {
        self.now += depth;
        self.deepest = self.deepest.max(self.now);
    }
}

impl Shape {
    pub fn of(text: &str) -> Self {
        let bytes = text.as_bytes();
        let mut shape = Self::default();
        let mut at = 0;
        let mut outer: Vec<Level> = Vec::new();
        let mut level = Level::default();
        while at < bytes.len() {
            shape.code += 1;
            let mut next = at + 1;
            match bytes[at] {
                // Where it does not end the parser will say so, unless what follows is too much for it.
                b'\'' | b'"' => next = end_of_quoted(bytes, at).unwrap_or(next),
                b'(' | b'[' | b'{' => outer.push(std::mem::take(&mut level)),
                b')' | b']' | b'}' => {
                    let inner = std::mem::replace(&mut level, outer.pop().unwrap_or_default());
                    level.add(inner.deepest + BRACKET);
                }
                // Their operands stand side by side.
                b',' | b'&' | b'|' => level.now = 0,
                byte if b"+-*/%!?.<=>".contains(&byte) => {
                    level.add(1);
                    if bytes.get(next) == Some(&b'=') {
                        next += 1;
                    }
                }
                b'i' if bytes[at..].starts_with(b"in") && !is_word(bytes, at) => level.add(1),
                _ => {}
            }
            at = next;
        }
        while let Some(next) = outer.pop() {
            let inner = std::mem::replace(&mut level, next);
            level.add(inner.deepest + BRACKET);
        }
        shape.depth = level.deepest;
        shape
    }
}

fn is_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

/// Where a text in quotes that begins at `start` has ended.
fn end_of_quoted(bytes: &[u8], start: usize) -> Option<usize> {
    let quote = bytes[start];
    let raw = start > 0 && matches!(bytes[start - 1], b'r' | b'R');
    let fence: &[u8] = if bytes[start..].starts_with(&[quote; 3]) { &[quote; 3] } else { &[quote] };
    let mut end = start + fence.len();
    while end < bytes.len() {
        if bytes[end..].starts_with(fence) {
            return Some(end + fence.len());
        }
        end += if bytes[end] == b'\\' && !raw { 2 } else { 1 };
    }
    None
}
