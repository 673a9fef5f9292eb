//! `hub`: a package of Artifact Hub, or of a Tekton Hub.

mod version;

use ergon_api::RefSource;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::params::{Texts, given, sha256};
use crate::resolvers::Asking;
use crate::web::MOST_BYTES;
use crate::{Fetched, ResolveError, World};
use version::{Constraint, Version};

/// What a new installation has for settings.
pub(crate) const DEFAULTS: &[(&str, &str)] = &[
    ("default-tekton-hub-catalog", "Tekton"),
    ("default-artifact-hub-task-catalog", "tekton-catalog-tasks"),
    ("default-artifact-hub-pipeline-catalog", "tekton-catalog-pipelines"),
    ("default-kind", "task"),
    ("default-type", "artifact"),
];

/// The hub that everybody uses.
const ARTIFACT_HUB: &str = "https://artifacthub.io";
const KINDS: [&str; 3] = ["task", "pipeline", "stepaction"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Type {
    Artifact,
    Tekton,
}

struct Wanted<'a> {
    type_: Type,
    kind: &'a str,
    catalog: &'a str,
    name: &'a str,
    version: String,
}

/// Fetches the version, or the newest one that the constraint allows, from the first hub that has it.
pub(crate) async fn resolve<W: World>(asking: &Asking<'_, W>) -> Result<Fetched, ResolveError> {
    let mut wanted = wanted(&asking.texts, asking.settings)?;
    let mut hubs = hubs(wanted.type_, &asking.texts, asking.settings)?;
    if let Some(constraint) = Constraint::parse(&wanted.version) {
        let (version, hub) = newest(asking, &wanted, &constraint, &hubs).await?;
        wanted.version = version;
        hubs = vec![hub];
    }
    // Artifact Hub has versions of three numbers, a Tekton Hub of two.
    let parts: Vec<&str> = wanted.version.split('.').collect();
    wanted.version = match wanted.type_ {
        Type::Artifact if parts.len() == 2 => format!("{}.0", wanted.version),
        Type::Tekton if parts.len() > 2 => parts[..2].join("."),
        _ => wanted.version.clone(),
    };
    let mut errors = Vec::new();
    for hub in &hubs {
        match fetch(asking, &wanted, hub).await {
            Ok(fetched) => return Ok(fetched),
            Err(error) => errors.push(error),
        }
    }
    Err(all("failed to fetch resource from any configured hub URL", &errors))
}

fn all(what: &str, errors: &[String]) -> ResolveError {
    match errors {
        [one] => ResolveError::Failed(one.clone()),
        _ => ResolveError::Failed(format!("{what}: {}", errors.join("\n"))),
    }
}

async fn fetch<W: World>(asking: &Asking<'_, W>, wanted: &Wanted<'_>, hub: &str) -> Result<Fetched, String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Data {
        yaml: String,
        #[serde(rename = "manifestRaw")]
        manifest_raw: String,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Package {
        data: Data,
    }
    let Wanted { type_, kind, catalog, name, version } = wanted;
    let url = match type_ {
        Type::Artifact => format!("{hub}/api/v1/packages/tekton-{kind}/{catalog}/{name}/{version}"),
        Type::Tekton => format!("{hub}/v1/resource/{catalog}/{kind}/{name}/{version}/yaml"),
    };
    let package: Package = read(asking, *type_, &url).await?;
    let yaml = match type_ {
        Type::Artifact => package.data.manifest_raw,
        Type::Tekton => package.data.yaml,
    };
    let digest = [("sha256".to_owned(), sha256(yaml.as_bytes()))].into();
    let source = RefSource { uri: Some(url), digest, entry_point: None };
    Ok(Fetched { data: yaml.into_bytes(), source, annotations: Texts::new() })
}

async fn newest<W: World>(
    asking: &Asking<'_, W>,
    wanted: &Wanted<'_>,
    constraint: &Constraint,
    hubs: &[String],
) -> Result<(String, String), ResolveError> {
    let mut errors = Vec::new();
    for hub in hubs {
        match versions(asking, wanted, hub).await {
            Err(error) => errors.push(error),
            Ok(versions) => {
                let newest = versions
                    .iter()
                    .filter_map(|text| Some((Version::parse(text)?, text)))
                    .filter(|(version, _)| constraint.allows(version))
                    .max_by(|(one, _), (other, _)| one.cmp(other));
                return match newest {
                    Some((_, text)) => Ok((text.clone(), hub.clone())),
                    None => Err(ResolveError::Failed(format!(
                        "no version found for constraint {} (there are: {})",
                        wanted.version,
                        versions.join(", ")
                    ))),
                };
            }
        }
    }
    Err(all("failed to resolve version constraint from any configured hub URL", &errors))
}

/// All versions of the package but those that are previews.
async fn versions<W: World>(
    asking: &Asking<'_, W>,
    wanted: &Wanted<'_>,
    hub: &str,
) -> Result<Vec<String>, String> {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Version {
        version: String,
        prerelease: bool,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Versions {
        available_versions: Vec<Version>,
        data: Data,
    }
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Data {
        versions: Vec<Version>,
    }
    let Wanted { type_, kind, catalog, name, .. } = wanted;
    let url = match type_ {
        Type::Artifact => format!("{hub}/api/v1/packages/tekton-{kind}/{catalog}/{name}"),
        Type::Tekton => format!("{hub}/v1/resource/{catalog}/{kind}/{name}"),
    };
    let found: Versions = read(asking, *type_, &url).await?;
    let all = found.available_versions.into_iter().chain(found.data.versions);
    Ok(all.filter(|version| !version.prerelease).map(|version| version.version).collect())
}

async fn read<W: World, T: DeserializeOwned>(
    asking: &Asking<'_, W>,
    type_: Type,
    url: &str,
) -> Result<T, String> {
    let hub = match type_ {
        Type::Artifact => "Artifact",
        Type::Tekton => "Tekton",
    };
    let failed = |why: String| format!("fail to fetch {hub} Hub resource: {why}");
    // A package's page has its description, its changes and its versions besides the manifest.
    let page = asking
        .web
        .get(url, &[("accept", "application/json")], 8 * MOST_BYTES)
        .await
        .map_err(|error| failed(format!("requesting resource from Hub: {error}")))?;
    if page.status != reqwest::StatusCode::OK {
        return Err(failed(format!("requested resource '{url}' not found on hub")));
    }
    serde_json::from_slice(&page.body)
        .map_err(|error| failed(format!("error unmarshalling json response: {error}")))
}

fn wanted<'a>(texts: &'a Texts, settings: &'a Texts) -> Result<Wanted<'a>, ResolveError> {
    let unset = |what: &str| {
        ResolveError::Invalid(format!(
            "failed to populate default params: default {what} was not set during installation of the hub resolver"
        ))
    };
    let invalid = |why: String| ResolveError::Invalid(format!("failed to validate params: {why}"));
    let of = |name: &str, key: &str| texts.get(name).or(settings.get(key)).map(String::as_str);
    let type_ = match of("type", "default-type").ok_or_else(|| unset("type"))? {
        "artifact" => Type::Artifact,
        "tekton" => Type::Tekton,
        _ => return Err(invalid("type param must be artifact or tekton".to_owned())),
    };
    let kind = of("kind", "default-kind").ok_or_else(|| unset("resource kind"))?;
    if !KINDS.contains(&kind) {
        return Err(invalid(format!("kind param must be one of: {}", KINDS.join(", "))));
    }
    let default = match (type_, kind) {
        (Type::Artifact, "task") => "default-artifact-hub-task-catalog",
        (Type::Artifact, "pipeline") => "default-artifact-hub-pipeline-catalog",
        (Type::Artifact, _) => "",
        (Type::Tekton, _) => "default-tekton-hub-catalog",
    };
    let catalog = of("catalog", default).ok_or_else(|| {
        ResolveError::Invalid(format!(
            "failed to populate default params: failed to resolve catalog name with kind: {kind}"
        ))
    })?;
    let missing: Vec<&str> =
        ["name", "version"].into_iter().filter(|name| !texts.contains_key(*name)).collect();
    let (Some(name), Some(version)) = (texts.get("name"), texts.get("version")) else {
        return Err(invalid(format!("missing required hub resolver params: {}", missing.join(", "))));
    };
    // They become parts of an address.
    for (what, value) in [("name", name.as_str()), ("catalog", catalog)] {
        if value.contains(['/', '?', '#', '%', '\\']) || value.is_empty() {
            return Err(invalid(format!("{what} param has a character that no package's name has: {value}")));
        }
    }
    Ok(Wanted { type_, kind, catalog, name, version: version.trim().to_owned() })
}

/// The hubs to ask, in order.
fn hubs(type_: Type, texts: &Texts, settings: &Texts) -> Result<Vec<String>, ResolveError> {
    let invalid = |why: String| ResolveError::Invalid(format!("failed to validate params: {why}"));
    if let Some(url) = given(texts, "url") {
        return Ok(vec![address(url).map_err(|why| invalid(format!("invalid url param: {why}")))?]);
    }
    let (key, variable) = match type_ {
        Type::Artifact => ("artifact-hub-urls", "ARTIFACT_HUB_API"),
        Type::Tekton => ("tekton-hub-urls", "TEKTON_HUB_API"),
    };
    if let Some(list) = given(settings, key) {
        let read: Result<Vec<String>, _> = serde_saphyr::from_str(list);
        let urls = read
            .map_err(|error| error.to_string())
            .and_then(|urls| urls.iter().map(|url| address(url)).collect::<Result<Vec<_>, _>>());
        match urls {
            Ok(urls) if !urls.is_empty() => return Ok(urls),
            Ok(_) => {}
            Err(error) => tracing::warn!(key, error, "the hubs to ask cannot be read; goes on without"),
        }
    }
    let from_environment = std::env::var(variable).ok().filter(|url| !url.trim().is_empty());
    match (from_environment, type_) {
        (Some(url), _) => Ok(vec![url.trim().trim_end_matches('/').to_owned()]),
        (None, Type::Artifact) => Ok(vec![ARTIFACT_HUB.to_owned()]),
        (None, Type::Tekton) => {
            Err(invalid("please configure TEKTON_HUB_API env variable to use tekton type".to_owned()))
        }
    }
}

fn address(url: &str) -> Result<String, String> {
    let url = url.trim().trim_end_matches('/');
    match reqwest::Url::parse(url) {
        Ok(parsed) if !parsed.has_host() => Err(format!("url must be a valid absolute URL: {url}")),
        Ok(parsed) if !matches!(parsed.scheme(), "http" | "https") => {
            Err(format!("url must use http or https scheme: {url}"))
        }
        Ok(_) => Ok(url.to_owned()),
        Err(_) => Err(format!("url must be a valid absolute URL: {url}")),
    }
}
