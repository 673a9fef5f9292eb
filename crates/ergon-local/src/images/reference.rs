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
        let reference: Reference = text.trim().parse().map_err(|error: oci_client::ParseError| {
            ImageError::Reference { text: text.to_owned(), reason: error.to_string() }
        })?;
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
}
