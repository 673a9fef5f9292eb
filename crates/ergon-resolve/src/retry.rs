//! Trying again what failed for a reason that may pass: how often, and after how long.

use std::hash::{BuildHasher as _, RandomState};
use std::time::Duration;

use crate::params::{Texts, given, span};

/// How often something is tried, and how long the pauses are. By Tekton's names in the settings of a resolver.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    /// The first pause. Each later one is `factor` times as long.
    first: Duration,
    factor: f64,
    /// Pauses are up to this part longer, so that those who failed at once do not come back at once.
    jitter: f64,
    /// How often in all.
    tries: u32,
    /// No pause is longer.
    longest: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(1),
            factor: 2.0,
            jitter: 0.1,
            tries: 3,
            longest: Duration::from_secs(10),
        }
    }
}

impl Backoff {
    /// What the settings say; what cannot be read there has its default.
    pub(crate) fn of(settings: &Texts) -> Self {
        fn read<T>(settings: &Texts, key: &str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
            let text = given(settings, key)?;
            let value = parse(text);
            if value.is_none() {
                tracing::warn!(key, value = text, "a setting of a resolver cannot be read; goes on without");
            }
            value
        }
        let number = |text: &str| text.parse::<f64>().ok().filter(|number| (0.0..1e6).contains(number));
        let default = Self::default();
        Self {
            first: read(settings, "backoff-duration", span).unwrap_or(default.first),
            factor: read(settings, "backoff-factor", number).unwrap_or(default.factor),
            jitter: read(settings, "backoff-jitter", number).unwrap_or(default.jitter),
            tries: read(settings, "backoff-steps", |text| text.parse().ok().filter(|tries| *tries > 0))
                .unwrap_or(default.tries),
            longest: read(settings, "backoff-cap", span).unwrap_or(default.longest),
        }
    }

    /// The pauses between the tries of one thing.
    pub(crate) fn pauses(&self) -> Pauses<'_> {
        Pauses { backoff: self, left: self.tries.saturating_sub(1), next: self.first.min(self.longest) }
    }
}

/// What is left of the tries of one thing.
pub(crate) struct Pauses<'a> {
    backoff: &'a Backoff,
    left: u32,
    next: Duration,
}

impl Pauses<'_> {
    /// Waits before the next try. False, at once, where there is to be none.
    pub async fn wait(&mut self, at_least: Duration) -> bool {
        let Some(pause) = self.next(at_least, random()) else { return false };
        tokio::time::sleep(pause).await;
        true
    }

    fn next(&mut self, at_least: Duration, random: f64) -> Option<Duration> {
        let Backoff { factor, jitter, longest, .. } = *self.backoff;
        self.left = self.left.checked_sub(1)?;
        // Who asks for a longer pause than there may be would refuse us again.
        let pause = self.next.mul_f64(1.0 + jitter * random).max(at_least);
        self.next = self.next.mul_f64(factor).min(longest);
        (at_least <= longest).then_some(pause)
    }
}

/// A number from 0 to 1: nothing secret hangs on it.
fn random() -> f64 {
    f64::from(u32::try_from(RandomState::new().hash_one(0) >> 32).unwrap_or_default()) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_up_to_a_limit_and_end() {
        let settings = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect::<Texts>()
        };
        let all = |backoff: &Backoff, random: f64| {
            let mut pauses = backoff.pauses();
            std::iter::from_fn(|| pauses.next(Duration::ZERO, random)).collect::<Vec<_>>()
        };
        let backoff = Backoff::of(&settings(&[
            ("backoff-duration", "2s"),
            ("backoff-factor", "3.0"),
            ("backoff-jitter", "0.5"),
            ("backoff-steps", "4"),
            ("backoff-cap", "7s"),
        ]));
        assert_eq!(all(&backoff, 0.0), [2, 6, 7].map(Duration::from_secs));
        assert_eq!(all(&backoff, 1.0), [3000, 9000, 10_500].map(Duration::from_millis));
        assert_eq!(backoff.pauses().next(Duration::from_secs(5), 0.0), Some(Duration::from_secs(5)));
        assert_eq!(backoff.pauses().next(Duration::from_secs(8), 0.0), None, "longer than any pause");
        assert!(all(&Backoff::of(&settings(&[("backoff-steps", "1")])), 0.0).is_empty());
        let unreadable = settings(&[("backoff-steps", "0"), ("backoff-factor", "-1"), ("backoff-cap", "x")]);
        assert_eq!(Backoff::of(&unreadable), Backoff::default());
        assert!((0.0..=1.0).contains(&random()));
    }
}
