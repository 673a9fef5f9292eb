//! Spans of time as Go writes them: `1h30m`, `90s`, `0`.

use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A span of time with a resolution of a nanosecond, written as in Go: `1h30m`, `1.5s`, `300ms`, `0`.
///
/// In timeouts, zero means "no timeout".
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Duration {
    nanos: i64,
}

impl Duration {
    /// Zero: in timeouts, "none".
    pub const ZERO: Self = Self { nanos: 0 };

    /// A span of so many milliseconds; the longest possible when it does not fit (292 years).
    pub const fn from_millis(millis: i64) -> Self {
        Self { nanos: millis.saturating_mul(1_000_000) }
    }

    /// A span of so many seconds.
    pub const fn from_secs(secs: i64) -> Self {
        Self { nanos: secs.saturating_mul(1_000_000_000) }
    }

    /// Milliseconds, rounded towards zero.
    pub const fn as_millis(self) -> i64 {
        self.nanos / 1_000_000
    }

    /// Nanoseconds.
    pub const fn as_nanos(self) -> i64 {
        self.nanos
    }

    /// True for zero, which in timeouts means "none".
    pub const fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// True below zero, which no field allows.
    pub const fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// The sum, or the longest possible.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self { nanos: self.nanos.saturating_add(other.nanos) }
    }

    /// The difference, or the shortest possible.
    #[must_use]
    pub const fn saturating_sub(self, other: Self) -> Self {
        Self { nanos: self.nanos.saturating_sub(other.nanos) }
    }
}

/// Why a text is not a [`Duration`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseDurationError {
    /// There is nothing, or not a number where one belongs.
    #[error("invalid duration `{text}`: expected a number and a unit, such as `90s`, `10m` or `1h30m`")]
    Malformed {
        /// What was found.
        text: String,
    },
    /// A number stands alone.
    #[error("invalid duration `{text}`: missing unit; write `{text}s`, `{text}m` or `{text}h`")]
    MissingUnit {
        /// What was found.
        text: String,
    },
    /// The unit is none of Go's.
    #[error("invalid duration `{text}`: unknown unit `{unit}`; use h, m, s, ms, us or ns")]
    UnknownUnit {
        /// What was found.
        text: String,
        /// The unit in it.
        unit: String,
    },
    /// More than 292 years.
    #[error("invalid duration `{text}`: too long")]
    TooLong {
        /// What was found.
        text: String,
    },
}

impl FromStr for Duration {
    type Err = ParseDurationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || ParseDurationError::Malformed { text: text.to_owned() };
        let too_long = || ParseDurationError::TooLong { text: text.to_owned() };
        let (negative, mut rest) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        if rest == "0" {
            return Ok(Self::ZERO);
        }
        if rest.is_empty() {
            return Err(malformed());
        }
        let mut nanos: i128 = 0;
        while !rest.is_empty() {
            let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            let (number, after) = rest.split_at(number_end);
            let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
            let (unit, after) = after.split_at(unit_end);
            if number.is_empty() {
                return Err(malformed());
            }
            let unit_nanos: i128 = match unit {
                "h" => 3_600_000_000_000,
                "m" => 60_000_000_000,
                "s" => 1_000_000_000,
                "ms" => 1_000_000,
                "us" | "µs" | "μs" => 1_000,
                "ns" => 1,
                "" if rest.len() == text.len() => {
                    return Err(ParseDurationError::MissingUnit { text: text.to_owned() });
                }
                "" => return Err(malformed()),
                _ => {
                    return Err(ParseDurationError::UnknownUnit {
                        text: text.to_owned(),
                        unit: unit.to_owned(),
                    });
                }
            };
            let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
            if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
                return Err(malformed());
            }
            if whole.len() > 19 {
                return Err(too_long());
            }
            let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| malformed())? };
            nanos += whole * unit_nanos;
            // Digits beyond the resolution are cut off; 15 of them keep the product far from overflow.
            let mut scale: i128 = 1;
            let mut part: i128 = 0;
            for digit in fraction.bytes().take(15) {
                part = part * 10 + i128::from(digit - b'0');
                scale *= 10;
            }
            nanos += part * unit_nanos / scale;
            rest = after;
        }
        let nanos = i64::try_from(if negative { -nanos } else { nanos }).map_err(|_| too_long())?;
        Ok(Self { nanos })
    }
}

/// As Go's `time.Duration` prints itself: `1h30m0s`, `1.5s`, `300ms`, `0s`.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let total = self.nanos.unsigned_abs();
        if self.nanos < 0 {
            f.write_str("-")?;
        }
        match total {
            0 => f.write_str("0s"),
            1..1_000 => write!(f, "{total}ns"),
            1_000..1_000_000 => write!(f, "{}µs", decimal(total, 1_000)),
            1_000_000..1_000_000_000 => write!(f, "{}ms", decimal(total, 1_000_000)),
            _ => {
                let minutes = total / 60_000_000_000;
                let (hours, minutes) = (minutes / 60, minutes % 60);
                if hours > 0 {
                    write!(f, "{hours}h")?;
                }
                if hours > 0 || minutes > 0 {
                    write!(f, "{minutes}m")?;
                }
                write!(f, "{}s", decimal(total % 60_000_000_000, 1_000_000_000))
            }
        }
    }
}

/// `value / unit` without trailing zeros. `unit` is a power of ten.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, fraction) = (value / unit, value % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let width = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{fraction:0width$}").trim_end_matches('0'))
}

impl Serialize for Duration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Duration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Duration;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration as text, such as \"90s\" or \"1h30m\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Duration, E> {
                text.parse().map_err(E::custom)
            }
        }

        deserializer.deserialize_str(Visitor)
    }
}

impl JsonSchema for Duration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Duration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "pattern": r"^[-+]?(0|(([0-9]+(\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints_like_go() {
        for (text, millis, printed) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("1h30m", 5_400_000, "1h30m0s"),
            ("90s", 90_000, "1m30s"),
            ("1.5h", 5_400_000, "1h30m0s"),
            ("300ms", 300, "300ms"),
            ("1h0m0.25s", 3_600_250, "1h0m0.25s"),
            (".5s", 500, "500ms"),
            ("-10m", -600_000, "-10m0s"),
            ("1500us", 1, "1.5ms"),
            ("36h", 129_600_000, "36h0m0s"),
        ] {
            let duration: Duration = text.parse().unwrap();
            assert_eq!(duration.as_millis(), millis, "{text}");
            assert_eq!(duration.to_string(), printed, "{text}");
            assert_eq!(printed.parse::<Duration>().unwrap(), duration, "{text}");
        }
    }

    #[test]
    fn says_what_is_wrong() {
        for (text, wanted) in [
            ("", "expected a number and a unit"),
            ("10", "missing unit; write `10s`"),
            ("1d", "unknown unit `d`"),
            ("1h 30m", "unknown unit `h `"),
            ("h", "expected a number and a unit"),
            ("1.2.3s", "expected a number and a unit"),
            ("99999999h", "too long"),
            ("99999999999999999999999s", "too long"),
            ("1h5", "expected a number and a unit"),
        ] {
            let error = text.parse::<Duration>().unwrap_err().to_string();
            assert!(error.contains(wanted), "{text}: {error}");
        }
    }
}
