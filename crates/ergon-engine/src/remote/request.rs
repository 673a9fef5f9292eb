//! What a resolver is asked for.

use ergon_api::{Param, ParamValue};

use crate::expr::{Scope, expand, expand_value};

/// Names of objects are limited to this.
const LONGEST_NAME: usize = 63;

/// A question to a resolver. Two that are equal have the same answer, at any one time and in one namespace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Request {
    /// Which one: `git`, `http`, `bundles`, `hub`, `cluster`, or somebody else's.
    pub resolver: String,
    /// The reference's name, where it is an address.
    pub url: Option<String>,
    pub params: Vec<Param>,
}

impl Request {
    /// The question that a reference comes to; none where it names an object of the cluster.
    pub fn of(name: Option<&str>, resolver: Option<&str>, params: &[Param], scope: &Scope) -> Option<Self> {
        let resolver = resolver.filter(|resolver| !resolver.is_empty())?;
        Some(Self {
            resolver: resolver.to_owned(),
            url: name.filter(|name| is_url(name)).map(|name| expand(name, scope)),
            params: params
                .iter()
                .map(|param| Param { name: param.name.clone(), value: expand_value(&param.value, scope) })
                .collect(),
        })
    }

    /// The text of a parameter; none where it is not set, and the empty text where it is no text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.params.iter().rev().find(|param| param.name == name).map(|param| match &param.value {
            ParamValue::String(text) => text.as_str(),
            _ => "",
        })
    }

    /// The name of the ResolutionRequest that asks this for a run: `<resolver>-<hash>`, the same that Tekton gives it.
    pub fn name(&self, namespace: &str, run: &str) -> String {
        let mut hash = Fnv128::default();
        hash.add(namespace).add("/").add(run);
        let mut params: Vec<&Param> = self.params.iter().collect();
        params.sort_by(|one, other| one.name.cmp(&other.name));
        for param in params {
            hash.add(&param.name);
            match &param.value {
                ParamValue::String(text) => hash.add(text),
                value => hash.add(&serde_json::to_string(value).unwrap_or_default()),
            };
        }
        hash.add(self.url.as_deref().unwrap_or_default());
        let digest = format!("{:032x}", hash.state);
        let mut head = self.resolver.as_str();
        while head.len() > LONGEST_NAME - digest.len() - 1 {
            head = &head[..head.char_indices().next_back().map_or(0, |(at, _)| at)];
        }
        format!("{head}-{digest}")
    }

    /// What stands for the missing name of a reference in Tekton's messages.
    pub(crate) fn describe(&self) -> String {
        let mut text = format!("resolver type {}\n", self.resolver);
        for param in &self.params {
            match (param.name.as_str(), &param.value) {
                ("name", ParamValue::String(name)) => text.extend(["name = ", name, "\n"]),
                ("name", value) => {
                    text.extend(["name = ", &serde_json::to_string(value).unwrap_or_default(), "\n"]);
                }
                ("url", _) => {
                    text.extend(["url = ", self.text("url").unwrap_or_default(), "\n"]);
                }
                _ => {}
            }
        }
        text
    }
}

/// Whether a reference's name is an address, by Tekton's rule: it has `scheme:/` somewhere.
pub fn is_url(name: &str) -> bool {
    name.match_indices(":/").any(|(at, _)| {
        name[..at].ends_with(|last: char| last.is_ascii_alphanumeric() || matches!(last, '_' | '-'))
    })
}

/// The 128-bit FNV-1a hash.
struct Fnv128 {
    state: u128,
}

impl Default for Fnv128 {
    fn default() -> Self {
        Self { state: 0x6c62_272e_07bb_0142_62b8_2175_6295_c58d }
    }
}

impl Fnv128 {
    fn add(&mut self, text: &str) -> &mut Self {
        const PRIME: u128 = (1 << 88) + 0x13b;
        for byte in text.bytes() {
            self.state = (self.state ^ u128::from(byte)).wrapping_mul(PRIME);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_tekton() {
        // FNV-1a of the empty text and of "a" are published test vectors.
        let hex = |text: &str| format!("{:032x}", Fnv128::default().add(text).state);
        assert_eq!(hex(""), "6c62272e07bb014262b821756295c58d");
        assert_eq!(hex("a"), "d228cb696f1a8caf78912b704e4a8964");
        let request = |params: &[(&str, &str)], resolver: &str| Request {
            resolver: resolver.to_owned(),
            url: None,
            params: params.iter().map(|(name, value)| Param::string(*name, *value)).collect(),
        };
        let one = request(&[("a", "1"), ("b", "2")], "git").name("ns", "run");
        let other = request(&[("b", "2"), ("a", "1")], "git").name("ns", "run");
        assert_eq!(one, other, "the order does not matter");
        assert_eq!(one, format!("git-{}", hex("ns/runa1b2")));
        assert_eq!(request(&[], &"é".repeat(40)).name("ns", "run").len(), 63);
    }

    #[test]
    fn addresses() {
        for (name, url) in [
            ("git-clone", false),
            ("https://example.com/task.yaml", true),
            ("git+https://x/y.git", true),
            ("://x", false),
            ("a:/b", true),
        ] {
            assert_eq!(is_url(name), url, "{name}");
        }
    }
}
