//! What the cluster can do, found out once.

use k8s_openapi::apimachinery::pkg::version::Info;
use kube::runtime::watcher;

/// A version of Kubernetes, such as 1.37.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version {
    pub major: u32,
    pub minor: u32,
}

impl Version {
    /// Image volumes are on by default since 1.35, and off before unless somebody turned their gate on.
    pub const IMAGE_VOLUMES: Self = Self { major: 1, minor: 35 };
    /// Lists that come as a stream are on by default since 1.34.
    const STREAMING_LISTS: Self = Self { major: 1, minor: 34 };

    /// Reads what the API server says of itself. Some providers write the minor version as `30+`.
    pub fn of(info: &Info) -> Option<Self> {
        let number = |text: &str| text.trim_end_matches(|last: char| !last.is_ascii_digit()).parse().ok();
        Some(Self { major: number(&info.major)?, minor: number(&info.minor)? })
    }

    /// How to list and watch with an API server of this version.
    pub fn watcher_config(self) -> watcher::Config {
        let config = watcher::Config::default();
        if self >= Self::STREAMING_LISTS { config.streaming_lists() } else { config }
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        let of = |major: &str, minor: &str| {
            Version::of(&Info { major: major.into(), minor: minor.into(), ..Default::default() })
        };
        assert_eq!(of("1", "37"), Some(Version { major: 1, minor: 37 }));
        assert_eq!(of("1", "30+"), Some(Version { major: 1, minor: 30 }));
        assert_eq!(of("", ""), None);
        assert!(
            of("1", "35") >= Some(Version::IMAGE_VOLUMES) && of("1", "34+") < Some(Version::IMAGE_VOLUMES)
        );
    }
}
