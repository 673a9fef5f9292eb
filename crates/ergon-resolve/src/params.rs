//! A request's parameters, and the settings of its resolver.

use std::collections::BTreeMap;
use std::time::Duration;

use ergon_engine::remote::Request;

use crate::World;

/// Parameters by name, as texts.
pub(crate) type Texts = BTreeMap<String, String>;

/// The parameters as Tekton's resolvers read them: the text of each, and nothing of those that are no text.
pub(crate) fn texts(request: &Request) -> Texts {
    request
        .params
        .iter()
        .map(|param| (param.name.clone(), request.text(&param.name).unwrap_or_default().to_owned()))
        .collect()
}

/// The parameter where it says anything.
pub(crate) fn given<'a>(texts: &'a Texts, name: &str) -> Option<&'a str> {
    texts.get(name).map(String::as_str).filter(|text| !text.is_empty())
}

/// A resolver's settings: its ConfigMap, or what a new installation has.
pub(crate) async fn settings<W: World>(world: &W, config_map: &str, defaults: &[(&str, &str)]) -> Texts {
    match world.settings(config_map).await {
        Some(settings) => settings,
        None => defaults.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
    }
}

/// A span of time as Go writes it.
pub(crate) fn span(text: &str) -> Option<Duration> {
    let span: ergon_api::Duration = text.parse().ok()?;
    u64::try_from(span.as_millis()).ok().map(Duration::from_millis)
}

/// Bytes in hexadecimal.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The SHA-256 of bytes, in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest as _;
    hex(&sha2::Sha256::digest(bytes))
}
