//! Some of its tests pass.

/// Adds.
pub fn add(a: i64, b: i64) -> i64 {
    a + b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adds() {
        assert_eq!(add(1, 2), 3);
    }

    #[test]
    #[should_panic]
    fn overflows() {
        add(i64::MAX, 1);
    }

    #[test]
    fn wrong() {
        assert_eq!(add(1, 1), 3, "<what & why>");
    }

    #[test]
    #[ignore = "takes long"]
    fn ignored() {}

    #[cfg(feature = "slow")]
    #[test]
    fn slow() {
        assert_eq!((0..1000).fold(0, add), 499_500);
    }
}
