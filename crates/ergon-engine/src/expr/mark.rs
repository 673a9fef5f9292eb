//! Marks in the place of values that are known only later, while it is found out what depends on them.

/// Stands for a text of a result that is not known yet.
pub(crate) const LATER: &str = "ergon-result-of-later";

/// Whether a text is the mark of a whole value. Who writes it by hand gains a text of letters.
pub(crate) fn is_mark(text: &str) -> bool {
    text == LATER
}
