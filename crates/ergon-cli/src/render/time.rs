//! Durations and ages for people: two units, the larger first.

use std::time::Duration;

use jiff::Timestamp;

/// Such as `450ms`, `3.2s`, `45s`, `3m20s`, `2h5m`, `3d4h`.
pub fn duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    let seconds = duration.as_secs();
    match seconds {
        0 if millis == 0 => "0s".to_owned(),
        0 => format!("{millis}ms"),
        1..10 if millis % 1000 >= 100 => format!("{}.{}s", seconds, (millis % 1000) / 100),
        _ => whole(seconds),
    }
}

/// How long ago `then` was, such as `45s` or `3d4h`; nothing for an unknown time.
pub fn age(now: Timestamp, then: Option<Timestamp>) -> String {
    then.map_or_else(String::new, |then| whole(between(then, now)))
}

/// How long something has taken, until its end or until now; nothing before its start.
pub fn took(start: Option<Timestamp>, end: Option<Timestamp>, now: Timestamp) -> String {
    start.map_or_else(String::new, |start| whole(between(start, end.unwrap_or(now))))
}

/// Whole seconds; a clock that runs ahead gives none.
fn between(start: Timestamp, end: Timestamp) -> u64 {
    u64::try_from(end.as_second() - start.as_second()).unwrap_or(0)
}

fn whole(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let two = |large: u64, large_name: &str, small: u64, small_name: &str| {
        if small == 0 {
            format!("{large}{large_name}")
        } else {
            format!("{large}{large_name}{small}{small_name}")
        }
    };
    match seconds {
        0..MINUTE => format!("{seconds}s"),
        MINUTE..HOUR => two(seconds / MINUTE, "m", seconds % MINUTE, "s"),
        HOUR..DAY => two(seconds / HOUR, "h", seconds % HOUR / MINUTE, "m"),
        _ => two(seconds / DAY, "d", seconds % DAY / HOUR, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_units_at_most() {
        let table = [
            (0, "0s"),
            (450, "450ms"),
            (1_000, "1s"),
            (3_250, "3.2s"),
            (45_900, "45s"),
            (60_000, "1m"),
            (200_000, "3m20s"),
            (7_500_000, "2h5m"),
            (273_600_000, "3d4h"),
        ];
        for (millis, expected) in table {
            assert_eq!(duration(Duration::from_millis(millis)), expected);
        }
    }

    #[test]
    fn ages_are_never_negative() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(age(at(100), Some(at(40))), "1m");
        assert_eq!(age(at(100), Some(at(140))), "0s");
        assert_eq!(age(at(100), None), "");
        assert_eq!(took(Some(at(10)), None, at(75)), "1m5s");
        assert_eq!(took(Some(at(10)), Some(at(20)), at(75)), "10s");
    }
}
