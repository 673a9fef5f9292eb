//! Its tests pass.

/// Says it louder.
///
/// ```
/// assert_eq!(shout::shout("a", 2), "A!!");
/// ```
pub fn shout(text: &str, marks: i64) -> String {
    let marks = math::add(marks, 0) as usize;
    text.to_uppercase() + &"!".repeat(marks)
}

#[test]
fn is_loud() {
    assert_eq!(shout("hello", 1), "HELLO!");
}
