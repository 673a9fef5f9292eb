//! Arithmetic on Kubernetes' quantities, such as `500m` and `1Gi`: exact, unlike floating-point numbers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// What a quantity is counted in here: a thousand millionth of one.
const NANOS: i128 = 1_000_000_000;

/// A quantity in thousand millionths; none where it is no quantity, or one that is out of all proportion.
pub fn nanos(quantity: &Quantity) -> Option<i128> {
    let text = quantity.0.trim();
    let end = text.find(|at: char| !matches!(at, '0'..='9' | '.' | '+' | '-')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (times, by) = factor(suffix)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let negative = whole.starts_with('-');
    let digits = format!("{}{fraction}", whole.strip_prefix(['+', '-']).unwrap_or(whole));
    if digits.is_empty() || fraction.len() > 18 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let scaled = digits.parse::<i128>().ok()?.checked_mul(times)?.checked_mul(NANOS)?;
    let divisor = 10_i128.checked_pow(u32::try_from(fraction.len()).ok()?)?.checked_mul(by)?;
    // Like Kubernetes: what is too small to be counted is rounded up.
    let size = scaled.checked_add(divisor - 1)? / divisor;
    Some(if negative { -size } else { size })
}

/// An even share of a quantity, rounded down: in bytes for memory and storage, else in thousandths.
pub(super) fn share(name: &str, quantity: &Quantity, parts: usize) -> Option<Quantity> {
    let parts = i128::try_from(parts).ok().filter(|parts| *parts > 0)?;
    let nanos = nanos(quantity)?;
    Some(if is_bytes(name) {
        bytes((nanos + NANOS - 1) / NANOS / parts)
    } else {
        let milli = NANOS / 1000;
        thousandths((nanos + milli - 1) / milli / parts)
    })
}

/// This many thousand millionths, rounded up: in bytes for memory and storage, else in thousandths.
pub(crate) fn told(name: &str, nanos: i128) -> Quantity {
    let milli = NANOS / 1000;
    if is_bytes(name) { bytes((nanos + NANOS - 1) / NANOS) } else { thousandths((nanos + milli - 1) / milli) }
}

fn is_bytes(name: &str) -> bool {
    matches!(name, "memory" | "ephemeral-storage") || name.starts_with("hugepages-")
}

fn bytes(count: i128) -> Quantity {
    let (divisor, suffix) = [(1 << 30, "Gi"), (1 << 20, "Mi"), (1 << 10, "Ki")]
        .into_iter()
        .find(|(divisor, _)| count != 0 && count % divisor == 0)
        .unwrap_or((1, ""));
    Quantity(format!("{}{suffix}", count / divisor))
}

fn thousandths(count: i128) -> Quantity {
    Quantity(if count % 1000 == 0 { (count / 1000).to_string() } else { format!("{count}m") })
}

/// What a suffix multiplies by, and divides by.
fn factor(suffix: &str) -> Option<(i128, i128)> {
    Some(match suffix {
        "" => (1, 1),
        "n" => (1, NANOS),
        "u" => (1, 1_000_000),
        "m" => (1, 1000),
        "k" => (1000, 1),
        "M" => (1_000_000, 1),
        "G" => (NANOS, 1),
        "T" => (NANOS * 1000, 1),
        "P" => (NANOS * 1_000_000, 1),
        "E" => (NANOS * NANOS, 1),
        "Ki" => (1 << 10, 1),
        "Mi" => (1 << 20, 1),
        "Gi" => (1 << 30, 1),
        "Ti" => (1 << 40, 1),
        "Pi" => (1 << 50, 1),
        "Ei" => (1 << 60, 1),
        _ => {
            let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
            let power = 10_i128.checked_pow(exponent.unsigned_abs()).filter(|_| exponent.abs() <= 18)?;
            if exponent < 0 { (1, power) } else { (power, 1) }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        Quantity(text.to_owned())
    }

    #[test]
    fn quantities_are_compared_by_size() {
        for (small, large) in
            [("900m", "1"), ("1000Mi", "1Gi"), ("1M", "1Mi"), ("1e3", "2k"), ("5n", "1u"), ("-1", "0")]
        {
            let sizes = [small, large].map(|text| nanos(&quantity(text)).unwrap());
            assert!(sizes[0] < sizes[1], "{small} {large}");
        }
        assert_eq!(nanos(&quantity("0.5Gi")), nanos(&quantity("512Mi")));
        assert_eq!(nanos(&quantity("1E3")), nanos(&quantity("1k")));
        for text in ["much", "", "1.2.3", "1x", "--1", "1e400", "m"] {
            assert_eq!(nanos(&quantity(text)), None, "{text}");
        }
    }

    #[test]
    fn shares() {
        for (name, whole, parts, expected) in [
            ("cpu", "2", 2, "1"),
            ("cpu", "500m", 2, "250m"),
            ("cpu", "1", 3, "333m"),
            ("memory", "256Mi", 2, "128Mi"),
            ("memory", "1Gi", 3, "357913941"),
            ("memory", "0", 3, "0"),
            ("example.com/gpu", "4", 2, "2"),
        ] {
            assert_eq!(share(name, &quantity(whole), parts), Some(quantity(expected)), "{whole} / {parts}");
        }
    }
}
