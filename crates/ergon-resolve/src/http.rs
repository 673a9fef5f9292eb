//! `http`: a file on a web server.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use ergon_api::RefSource;
use sha2::Digest as _;

use crate::params::{Texts, given, hex, sha256};
use crate::resolvers::Asking;
use crate::web::MOST_BYTES;
use crate::{Fetched, ResolveError, World};

/// What a new installation has for settings.
pub(crate) const DEFAULTS: &[(&str, &str)] = &[("fetch-timeout", "1m")];

const URL: &str = "url";
const USERNAME: &str = "http-username";
const SECRET: &str = "http-password-secret";
const SECRET_KEY: &str = "http-password-secret-key";

/// Fetches the file, with basic authentication where a Secret is named, and compares its digest where one is given.
pub(crate) async fn resolve<W: World>(asking: &Asking<'_, W>) -> Result<Fetched, ResolveError> {
    let mut texts = asking.texts.clone();
    if let Some(url) = &asking.request.url {
        texts.entry(URL.to_owned()).or_insert_with(|| url.clone());
    }
    let url = check(&texts)?;
    let header = match (given(&texts, SECRET), given(&texts, USERNAME)) {
        (Some(secret), Some(username)) => {
            let key = given(&texts, SECRET_KEY).unwrap_or("password");
            let namespace = asking.world.namespace();
            let password = token(asking.world, namespace, secret, key).await?;
            let pair = format!("{username}:{password}");
            Some(format!("Basic {}", BASE64_STANDARD.encode(pair)))
        }
        _ => None,
    };
    let headers: Vec<(&str, &str)> = header.iter().map(|value| ("authorization", value.as_str())).collect();
    let page = asking
        .web
        .get(url, &headers, MOST_BYTES)
        .await
        .map_err(|error| ResolveError::Failed(format!("error fetching URL: {error}")))?;
    if page.status != reqwest::StatusCode::OK {
        return Err(ResolveError::Failed(format!(
            "requested URL '{url}' is not found (the server answered {})",
            page.status
        )));
    }
    if let Some(digest) = texts.get("digest") {
        compare(digest, &page.body)
            .map_err(|why| ResolveError::Failed(format!("error validating digest: {why}")))?;
    }
    let source = RefSource {
        uri: Some(url.to_owned()),
        digest: [("sha256".to_owned(), sha256(&page.body))].into(),
        entry_point: None,
    };
    Ok(Fetched { data: page.body, source, annotations: Texts::new() })
}

/// The text under a key of a Secret. For the git resolver too.
pub(crate) async fn token<W: World>(
    world: &W,
    namespace: &str,
    secret: &str,
    key: &str,
) -> Result<String, ResolveError> {
    let found = world.secret(namespace, secret).await.map_err(|why| {
        ResolveError::Failed(format!(
            "error reading API token from secret {secret} in namespace {namespace}: {why}"
        ))
    })?;
    let Some(data) = found else {
        return Err(ResolveError::Failed(format!(
            "cannot get API token, secret {secret} not found in namespace {namespace}"
        )));
    };
    let value = data.get(key).ok_or_else(|| {
        ResolveError::Failed(format!(
            "cannot get API token, key {key} not found in secret {secret} in namespace {namespace}"
        ))
    })?;
    Ok(String::from_utf8_lossy(value).trim_end_matches(['\r', '\n']).to_owned())
}

/// The address, where the parameters make sense.
fn check(texts: &Texts) -> Result<&str, ResolveError> {
    let invalid = |message: String| Err(ResolveError::Invalid(message));
    let Some(url) = texts.get(URL) else {
        return invalid(format!("missing required http resolver params: {URL}"));
    };
    let Ok(parsed) = reqwest::Url::parse(url) else {
        return invalid(format!("cannot parse url {url}: no absolute URL"));
    };
    if !matches!(parsed.scheme(), "http" | "https") {
        return invalid(format!("url {url} is not a valid http(s) url"));
    }
    for (one, other) in [(USERNAME, SECRET), (SECRET, USERNAME)] {
        if let Some(value) = texts.get(one) {
            if !texts.contains_key(other) {
                return invalid(format!("missing required param {other} when using {one}"));
            }
            if value.is_empty() {
                return invalid(format!("value {one} cannot be empty"));
            }
        }
    }
    Ok(url)
}

fn compare(digest: &str, body: &[u8]) -> Result<(), String> {
    let (algorithm, expected) =
        digest.split_once(':').ok_or_else(|| format!("invalid digest format: {digest}"))?;
    let (found, length) = match algorithm {
        "sha256" => (sha256(body), 64),
        "sha512" => (hex(&sha2::Sha512::digest(body)), 128),
        _ => return Err(format!("invalid digest algorithm: {algorithm}")),
    };
    if expected.len() != length {
        return Err(format!(
            "invalid {algorithm} digest value, expected length: {length}, got: {}",
            expected.len()
        ));
    }
    if expected.eq_ignore_ascii_case(&found) {
        Ok(())
    } else {
        Err(format!("SHA mismatch, expected {expected}, got {found}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_that_make_no_request() {
        for (params, expected) in [
            (&[][..], "missing required http resolver params: url"),
            (&[("url", "x")], "cannot parse url x: no absolute URL"),
            (&[("url", "ftp://x/y")], "url ftp://x/y is not a valid http(s) url"),
            (
                &[("url", "https://x"), ("http-username", "u")],
                "missing required param http-password-secret when using http-username",
            ),
            (
                &[("url", "https://x"), ("http-username", ""), ("http-password-secret", "s")],
                "value http-username cannot be empty",
            ),
        ] {
            let texts = params.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            assert_eq!(check(&texts), Err(ResolveError::Invalid(expected.to_owned())), "{params:?}");
        }
    }

    #[test]
    fn digests() {
        let good = format!("sha256:{}", sha256(b"x"));
        assert_eq!(compare(&good, b"x"), Ok(()));
        assert!(compare(&good, b"y").is_err_and(|why| why.starts_with("SHA mismatch, expected ")));
        assert_eq!(compare("md5:x", b"x"), Err("invalid digest algorithm: md5".to_owned()));
        assert_eq!(compare("x", b"x"), Err("invalid digest format: x".to_owned()));
        assert_eq!(
            compare("sha512:ab", b"x"),
            Err("invalid sha512 digest value, expected length: 128, got: 2".to_owned())
        );
    }
}
