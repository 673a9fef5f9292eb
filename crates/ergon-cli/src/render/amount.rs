//! Amounts of data for people.

/// Such as `12 B`, `340 KiB`, `3.5 MiB`.
pub fn bytes(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    match bytes {
        0..KIB => format!("{bytes} B"),
        KIB..MIB => format!("{} KiB", bytes / KIB),
        _ => format!("{}.{} MiB", bytes / MIB, bytes % MIB * 10 / MIB),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_short() {
        assert_eq!(
            [bytes(12), bytes(2048), bytes(3 << 20), bytes((3 << 20) + (1 << 19))],
            ["12 B", "2 KiB", "3.0 MiB", "3.5 MiB"]
        );
    }
}
