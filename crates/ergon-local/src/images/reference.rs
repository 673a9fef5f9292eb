//! Names of images, normalised as Docker does it: `busybox` is `docker.io/library/busybox:latest`.

use std::fmt;

use oci_client::Reference;

use super::ImageError;

/// The name of an image: registry, repository, and a tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ImageRef(Reference);

impl ImageRef {
    /// Reads a name as people write it.
    pub fn parse(text: &str) -> Result<Self, ImageError> {
        let reference = match plain(text.trim()) {
            Some(reference) => reference,
            None => text.trim().parse().map_err(|error: oci_client::ParseError| ImageError::Reference {
                text: text.to_owned(),
                reason: error.to_string(),
            })?,
        };
        Ok(match reference.digest() {
            // The digest alone decides; one name for one content.
            Some(digest) => Self(reference.clone_with_digest(digest.to_owned())),
            None => Self(reference),
        })
    }

    /// True for `localhost/…` without a port: such names live in the store alone and no registry is asked for them.
    pub fn is_local(&self) -> bool {
        self.0.registry() == "localhost"
    }

    /// True when the registry is this machine itself, and spoken to without TLS.
    pub(crate) fn is_plain_http(&self) -> bool {
        let registry = self.0.registry();
        let host = registry.rsplit_once(':').map_or(registry, |(host, _)| host);
        matches!(host, "localhost" | "127.0.0.1" | "[::1]")
    }

    /// The digest, if the name has one.
    pub fn digest(&self) -> Option<&str> {
        self.0.digest()
    }

    /// `docker.io/library/busybox`: the name without tag and digest.
    pub(crate) fn name(&self) -> String {
        format!("{}/{}", self.0.registry(), self.0.repository())
    }

    pub(crate) fn registry(&self) -> &str {
        self.0.registry()
    }

    pub(crate) fn repository(&self) -> &str {
        self.0.repository()
    }

    pub(crate) fn with_digest(&self, digest: &str) -> Self {
        Self(self.0.clone_with_digest(digest.to_owned()))
    }

    pub(crate) fn as_oci(&self) -> &Reference {
        &self.0
    }
}

impl fmt::Display for ImageRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// A name as most are. The library's own way compiles a large regular expression first, which takes longer than
/// starting a container; here it is left for names of other forms, and to say what is wrong with one.
fn plain(text: &str) -> Option<Reference> {
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    let (registry, path) = match name.split_once('/') {
        Some((first, rest)) if first == "localhost" || first.contains(['.', ':']) => (first, rest),
        _ => ("docker.io", name),
    };
    // Other spellings of Docker Hub are for the library to know.
    if registry.ends_with("docker.io") && registry.len() < name.len() && name.starts_with(registry) {
        return None;
    }
    let (path, tag) = match path.rsplit_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (path, None),
    };
    let word = |text: &str, more: &str| {
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || more.contains(c);
        let pair = |pair: &[u8]| pair.iter().all(|c| !c.is_ascii_alphanumeric());
        ends(text.chars().next())
            && ends(text.chars().last())
            && text.chars().all(inner)
            && !text.as_bytes().windows(2).any(pair)
    };
    let (host, port) = registry.split_once(':').unwrap_or((registry, "0"));
    let is_name = text.len() <= 200
        && host.split('.').all(|part| word(part, "-"))
        && !port.is_empty()
        && port.chars().all(|c| c.is_ascii_digit())
        && path.split('/').all(|part| word(part, "._-"));
    let is_tag = tag.is_none_or(|tag| tag.len() <= 100 && word(tag, "._-"));
    let is_digest = digest.is_none_or(|digest| tag.is_none() && super::blob::hex_of(digest).is_ok());
    if !is_name || !is_tag || !is_digest {
        return None;
    }
    let library = registry == "docker.io" && !path.contains('/');
    let path = if library { format!("library/{path}") } else { path.to_owned() };
    let registry = registry.to_owned();
    Some(match digest {
        Some(digest) => Reference::with_digest(registry, path, digest.to_owned()),
        None => Reference::with_tag(registry, path, tag.unwrap_or("latest").to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_normalised_as_docker_does() {
        let digest = format!("sha256:{}", "a".repeat(64));
        for (text, wanted, local, http) in [
            ("busybox", "docker.io/library/busybox:latest".to_owned(), false, false),
            ("org/app:1", "docker.io/org/app:1".to_owned(), false, false),
            ("ghcr.io/org/app", "ghcr.io/org/app:latest".to_owned(), false, false),
            ("localhost/busybox:1", "localhost/busybox:1".to_owned(), true, true),
            ("localhost:5000/a", "localhost:5000/a:latest".to_owned(), false, true),
            ("127.0.0.1:5000/a:2", "127.0.0.1:5000/a:2".to_owned(), false, true),
            (&format!("busybox:1.36@{digest}"), format!("docker.io/library/busybox@{digest}"), false, false),
        ] {
            let reference = ImageRef::parse(text).unwrap();
            assert_eq!(reference.to_string(), wanted, "{text}");
            assert_eq!(reference.is_local(), local, "{text}");
            assert_eq!(reference.is_plain_http(), http, "{text}");
        }
    }

    #[test]
    fn what_is_no_reference_is_named() {
        let error = ImageRef::parse("Not A Name").unwrap_err().to_string();
        assert!(error.contains("`Not A Name`"), "{error}");
    }

    #[test]
    fn plain_names_mean_what_the_library_says() {
        let digest = format!("sha256:{}", "0a".repeat(32));
        let names = [
            "busybox",
            "busybox:1.36",
            "org/app",
            "org/app:v1",
            "localhost/busybox:1",
            "localhost:5000/a/b-c.d_e",
            "127.0.0.1:80/x:1",
            "ghcr.io/org/app:1-alpine",
            "quay.io/a/b/c",
            &format!("ghcr.io/org/app@{digest}"),
            &format!("busybox@{digest}"),
        ];
        for name in names {
            let wanted: Reference = name.parse().unwrap();
            assert_eq!(plain(name), Some(wanted), "{name}");
        }
        // These are left to the library, whatever it says.
        for name in [
            "",
            "A",
            "a//b",
            "a/",
            "/a",
            "a:",
            "a@",
            "a:1@sha256:0",
            "a..b",
            "a-",
            "docker.io/a",
            "index.docker.io/a",
            "[::1]:5000/a",
            "a b",
            "x.y:/a",
            "a:b:c",
            "é",
        ] {
            assert_eq!(plain(name), None, "{name}");
        }
    }
}
