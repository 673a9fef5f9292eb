//! Names of children: they follow from their parent alone, so that a second attempt meets the first one's object.

use md5::{Digest, Md5};

/// Names of pods and values of labels are limited to this.
const LONGEST: usize = 63;
/// How much of the parent's name stays in front of a hash of 32 characters.
const HEAD: usize = LONGEST - 32;

/// The name of a child: `<parent><suffix>`, or shortened with a hash where that is too long.
///
/// The same as Knative's `kmeta.ChildName`, which gives Tekton's children their names: tools rely on it.
pub fn child(parent: &str, suffix: &str) -> String {
    if parent.len() + suffix.len() <= LONGEST {
        return format!("{parent}{suffix}");
    }
    let head = |length: usize| &parent[..length.min(parent.len())];
    if suffix.len() < HEAD {
        return format!("{}{}{suffix}", head(HEAD - suffix.len()), hash(parent));
    }
    let mut name = format!("{}{}", head(HEAD), hash(&format!("{parent}{suffix}")));
    let room = LONGEST.saturating_sub(name.len()).min(suffix.len());
    name.push_str(&suffix[..room]);
    name.trim_end_matches(|last: char| !last.is_ascii_alphanumeric()).to_owned()
}

/// A short name for what belongs to an object: `<prefix>-<ten hexadecimal digits>`.
pub fn derived(prefix: &str, uid: &str, what: &str) -> String {
    format!("{prefix}-{}", &hash(&format!("{uid}/{what}"))[..10])
}

fn hash(text: &str) -> String {
    Md5::digest(text).iter().fold(String::with_capacity(32), |hex, byte| hex + &format!("{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn short_names_are_joined_and_long_ones_hashed() {
        assert_eq!(child("run", "-build"), "run-build");
        let long = child(&"a".repeat(70), "-build");
        assert_eq!(long, format!("{}{}-build", "a".repeat(25), hash(&"a".repeat(70))));
        assert_eq!(long.len(), 63);
        assert_eq!(child("run", &format!("-{}", "b".repeat(80))).len(), 63);
    }

    proptest! {
        #[test]
        fn every_name_fits_and_is_stable(parent in "[a-z][a-z0-9-]{0,80}[a-z0-9]", suffix in "-[a-z0-9]{1,80}") {
            let name = child(&parent, &suffix);
            prop_assert!(name.len() <= 63 && name.ends_with(|last: char| last.is_ascii_alphanumeric()));
            prop_assert_eq!(child(&parent, &suffix), name);
        }
    }
}
