//! `timestamp(…)` and `duration(…)`, with exactly the texts that Go's CEL takes.
//!
//! The `cel` crate has both, but it ignores what follows a duration, rounds large ones, and reads the parts of a
//! timestamp at the offset that it was written with, where the language says UTC. So both calls are sent to functions
//! of ours, with names that no expression can spell. All else (comparison, arithmetic, parts) is the crate's.
//! There is no clock: a time only comes from a text or a number.

use std::sync::{Arc, LazyLock};

use cel::common::ast::{CallExpr, Expr};
use cel::common::types::{CelDuration, CelInt, CelString, CelTimestamp, DYN_TYPE};
use cel::common::value::CowVal;
use cel::parser::Macro;
use cel::{Env, ExecutionError};
use chrono::{DateTime, Datelike, Duration, Timelike, Utc};

/// The standard functions and macros, with our `timestamp` and `duration`.
pub(super) static ENV: LazyLock<Arc<Env>> = LazyLock::new(|| Arc::new(standard()));

/// The same with functions on texts and lists.
pub(super) static EXTENDED: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut env = standard();
    // They fail for names that are taken only, as below.
    let _ = env.add_extension(cel::extensions::strings);
    let _ = env.add_extension(cel::extensions::lists);
    Arc::new(env)
});

fn standard() -> Env {
    let mut env = Env::stdlib();
    for (name, ours) in [("duration", DURATION), ("timestamp", TIMESTAMP)] {
        let call = Macro::global(name, 1, move |parser, _, args| {
            let args = std::mem::take(args);
            let call = CallExpr { func_name: ours.to_owned(), target: None, args };
            Ok(Some(parser.next_expr(Expr::Call(call))))
        });
        // They fail for names that are taken only: the tests of this module would not pass.
        let _ = env.add_macro(call);
    }
    let _ = env.add_overload(DURATION, DURATION, vec![DYN_TYPE], duration);
    let _ = env.add_overload(TIMESTAMP, TIMESTAMP, vec![DYN_TYPE], timestamp);
    env
}

const DURATION: &str = "@duration";
const TIMESTAMP: &str = "@timestamp";

fn duration<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let wrong = |why: String| ExecutionError::function_error("duration", why);
    let Some(arg) = args.into_iter().next() else { return Err(wrong("it takes one value".to_owned())) };
    if let Some(text) = arg.downcast_ref::<CelString<'_>>() {
        let text = text.inner();
        let read = nanoseconds(text).map_err(|why| wrong(format!("`{}` {why}", super::shortened(text))))?;
        return Ok(CowVal::owned(CelDuration::from(Duration::nanoseconds(read))));
    }
    match arg.downcast_ref::<CelDuration>() {
        Some(_) => Ok(arg),
        None => Err(wrong(format!("it takes a text such as '1h30m', not {}", arg.get_type().name()))),
    }
}

fn timestamp<'b, 'v>(args: Vec<CowVal<'b, 'v>>) -> Result<CowVal<'b, 'v>, ExecutionError> {
    let wrong = |why: String| ExecutionError::function_error("timestamp", why);
    let Some(arg) = args.into_iter().next() else { return Err(wrong("it takes one value".to_owned())) };
    if arg.downcast_ref::<CelTimestamp>().is_some() {
        return Ok(arg);
    }
    let (time, shown) = if let Some(text) = arg.downcast_ref::<CelString<'_>>() {
        let time = instant(text.inner());
        (time, format!("`{}`", super::shortened(text.inner())))
    } else if let Some(seconds) = arg.downcast_ref::<CelInt>() {
        (DateTime::from_timestamp(*seconds.inner(), 0), seconds.inner().to_string())
    } else {
        let found = arg.get_type().name();
        return Err(wrong(format!(
            "it takes a text such as '2026-01-31T12:00:00Z', or seconds, not {found}"
        )));
    };
    let time = time.filter(|time| (1..=9999).contains(&time.year())).ok_or_else(|| {
        wrong(format!("{shown} is no time of the years 1 to 9999; write it as '2026-01-31T12:00:00Z'"))
    })?;
    Ok(CowVal::owned(CelTimestamp::from(time.fixed_offset())))
}

/// What an RFC 3339 text says, as Go reads it: `T` and `Z` are capitals, and no second is a leap second.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    let plain = text.is_ascii() && text.as_bytes().get(10) == Some(&b'T') && !text.ends_with('z');
    let time = DateTime::parse_from_rfc3339(text).ok().filter(|_| plain)?.with_timezone(&Utc);
    (time.nanosecond() < 1_000_000_000).then_some(time)
}

/// Go's durations in nanoseconds: a sign, and numbers with units.
fn nanoseconds(text: &str) -> Result<i64, &'static str> {
    const NO_DURATION: &str = "is no duration; write numbers with units, such as '1h30m' or '1.5s'";
    const TOO_LONG: &str = "is more than about 292 years";
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(0);
    }
    let mut total: i128 = 0;
    // At least one part, and nothing after the last one.
    loop {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        if whole.is_empty() && fraction.is_empty() {
            return Err(NO_DURATION);
        }
        let (unit, after) = unit(after).ok_or(NO_DURATION)?;
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| TOO_LONG)? };
        // Digits past the 18th are less than a nanosecond of an hour.
        let fraction = &fraction[..fraction.len().min(18)];
        let of = 10i128.pow(u32::try_from(fraction.len()).unwrap_or_default());
        let fraction: i128 = fraction.parse().unwrap_or_default();
        total = whole
            .checked_mul(unit)
            .and_then(|part| part.checked_add(fraction * unit / of))
            .and_then(|part| total.checked_add(part))
            .ok_or(TOO_LONG)?;
        if after.is_empty() {
            return i64::try_from(if negative { -total } else { total }).map_err(|_| TOO_LONG);
        }
        rest = after;
    }
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// The unit that a text begins with, in nanoseconds, and what follows it.
fn unit(text: &str) -> Option<(i128, &str)> {
    // `m` is a part of `ms`.
    const UNITS: [(&str, i128); 8] = [
        ("ns", 1),
        ("us", 1_000),
        ("µs", 1_000),
        ("μs", 1_000),
        ("ms", 1_000_000),
        ("s", 1_000_000_000),
        ("m", 60_000_000_000),
        ("h", 3_600_000_000_000),
    ];
    UNITS.iter().find_map(|(name, unit)| Some((*unit, text.strip_prefix(name)?)))
}

#[cfg(test)]
mod tests {
    use super::super::{CelError, check, holds};
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("0", Some(0)),
            ("-0", Some(0)),
            ("+5s", Some(5_000_000_000)),
            ("-1.5h", Some(-5_400_000_000_000)),
            ("1h1m1s1ms1us1ns", Some(3_661_001_001_001)),
            ("1µs", Some(1_000)),
            ("1μs", Some(1_000)),
            (".5s", Some(500_000_000)),
            ("1.s", Some(1_000_000_000)),
            ("0.0000000019s", Some(1)),
            ("0.33333333333333333333333333333s", Some(333_333_333)),
            ("2540400h10m10s", Some(9_145_440_610_000_000_000)),
            ("9223372036854775807ns", Some(i64::MAX)),
            ("-9223372036854775808ns", Some(i64::MIN)),
            ("9223372036854775808ns", None),
            ("9999999999999999999999999999999999999999999h", None),
            ("100000000000000000000000000h", None),
            ("", None),
            ("-", None),
            ("5", None),
            ("1hx", None),
            ("1h 1m", None),
            ("1h-1m", None),
            ("--1s", None),
            ("1e3s", None),
            ("infs", None),
            (".s", None),
            ("1d", None),
            ("1S", None),
        ] {
            assert_eq!(nanoseconds(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn timestamps_are_read_as_go_reads_them() {
        for (text, seconds) in [
            ("1970-01-01T00:00:01Z", Some(1)),
            ("1970-01-01T01:00:01.9+01:00", Some(1)),
            ("1970-01-01t00:00:01Z", None),
            ("1970-01-01T00:00:01z", None),
            ("1970-01-01 00:00:01Z", None),
            ("2016-12-31T23:59:60Z", None),
            ("2025-02-29T00:00:00Z", None),
            ("1970-01-01T00:00:01", None),
            ("1970-01-01", None),
            ("", None),
        ] {
            assert_eq!(instant(text).map(|time| time.timestamp()), seconds, "{text}");
        }
    }

    #[test]
    fn a_mistake_tells_what_to_write() {
        for (text, expected) in [
            ("duration('1hx') == duration('1h')", "`1hx` is no duration; write numbers"),
            ("duration('3000000h') == duration('1h')", "more than about 292 years"),
            ("duration(5) == duration('5s')", "it takes a text such as '1h30m', not int"),
            ("timestamp('today') == timestamp(0)", "`today` is no time of the years 1 to 9999"),
            ("timestamp(true) == timestamp(0)", "or seconds, not bool"),
            ("timestamp(253402300800) == timestamp(0)", "253402300800 is no time of the years"),
            ("timestamp() == timestamp(0)", "timestamp"),
        ] {
            let error = holds(text).unwrap_err();
            assert!(matches!(error, CelError::Evaluation(_)), "{text}: {error:?}");
            let error = error.to_string();
            assert!(error.contains(expected) && !error.contains('@'), "{text}: {error}");
        }
        // What only evaluation shows is no mistake of a text that may have references in quotes.
        assert_eq!(check("timestamp('$(params.when)') > timestamp('2026-01-01T00:00:00Z')"), Ok(()));
    }
}
