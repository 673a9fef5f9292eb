//! Versions and constraints such as `>= 0.7, < 2`, by the rules of Tekton's resolver.

use std::cmp::Ordering;

/// Numbers, and what is behind a `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Version {
    /// At least three; those not written are 0.
    numbers: Vec<u64>,
    /// How many were written.
    written: usize,
    preview: Option<String>,
}

impl Version {
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim().trim_start_matches('v');
        let text = text.split_once('+').map_or(text, |(version, _)| version);
        let (numbers, preview) = match text.split_once('-') {
            Some((numbers, preview)) => (numbers, Some(preview.to_owned())),
            None => (text, None),
        };
        let mut numbers: Vec<u64> =
            numbers.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
        let written = numbers.len();
        numbers.resize(written.max(3), 0);
        Some(Self { numbers, written, preview })
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> Ordering {
        let length = self.numbers.len().max(other.numbers.len());
        let padded = |version: &Self| {
            let mut numbers = version.numbers.clone();
            numbers.resize(length, 0);
            numbers
        };
        padded(self).cmp(&padded(other)).then_with(|| match (&self.preview, &other.preview) {
            (None, None) => Ordering::Equal,
            // A preview comes before what it is a preview of.
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(one), Some(other)) => one.cmp(other),
        })
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Comparisons that must all hold.
#[derive(Debug)]
pub(super) struct Constraint(Vec<(Operator, Version)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    /// `~>`: at least this, and the same but for the last number written.
    About,
}

impl Constraint {
    /// Reads a constraint. A plain version is one too: that version and no other.
    pub fn parse(text: &str) -> Option<Self> {
        text.split(',').map(comparison).collect::<Option<Vec<_>>>().map(Self)
    }

    pub fn allows(&self, version: &Version) -> bool {
        self.0.iter().all(|(operator, bound)| match operator {
            Operator::Equal => version == bound || version.cmp(bound) == Ordering::Equal,
            Operator::NotEqual => version.cmp(bound) != Ordering::Equal,
            Operator::Greater => version > bound,
            Operator::GreaterOrEqual => version >= bound,
            Operator::Less => version < bound,
            Operator::LessOrEqual => version <= bound,
            Operator::About => {
                let same = bound.written.saturating_sub(1);
                version >= bound && version.numbers[..same] == bound.numbers[..same]
            }
        })
    }
}

fn comparison(text: &str) -> Option<(Operator, Version)> {
    const OPERATORS: [(&str, Operator); 7] = [
        (">=", Operator::GreaterOrEqual),
        ("<=", Operator::LessOrEqual),
        ("!=", Operator::NotEqual),
        ("~>", Operator::About),
        (">", Operator::Greater),
        ("<", Operator::Less),
        ("=", Operator::Equal),
    ];
    let text = text.trim();
    let found = OPERATORS.iter().find_map(|(sign, operator)| Some((*operator, text.strip_prefix(sign)?)));
    let (operator, version) = found.unwrap_or((Operator::Equal, text));
    Some((operator, Version::parse(version)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constraints() {
        for (constraint, version, allowed) in [
            ("0.10", "0.10.0", true),
            ("0.10", "0.10.1", false),
            (">= 0.7.0", "0.10.0", true),
            (">=0.7.0, < 2.0.0", "2.0.0", false),
            (">=0.7.0, < 2.0.0", "0.9", true),
            ("> 1", "1.0.1", true),
            ("!= 1.0", "1.0.0", false),
            ("~> 1.2", "1.9", true),
            ("~> 1.2", "2.0", false),
            ("~> 1.2.3", "1.2.9", true),
            ("~> 1.2.3", "1.3.0", false),
            ("<= 1.0.0", "1.0.0-rc1", true),
        ] {
            let read = Constraint::parse(constraint).unwrap();
            assert_eq!(read.allows(&Version::parse(version).unwrap()), allowed, "{constraint} {version}");
        }
        assert!(Constraint::parse("latest").is_none());
        assert!(Version::parse("0.9").unwrap() < Version::parse("0.10").unwrap());
    }
}
