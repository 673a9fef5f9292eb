//! `cluster`: an object in a namespace of the cluster.

use ergon_api::RefSource;

use crate::params::{Texts, given, sha256};
use crate::resolvers::Asking;
use crate::{Fetched, Kind, ResolveError, World};

/// What a new installation has for settings.
pub(crate) const DEFAULTS: &[(&str, &str)] = &[("default-kind", "task"), ("default-namespace", "")];

/// Reads the object.
pub(crate) async fn resolve<W: World>(asking: &Asking<'_, W>) -> Result<Fetched, ResolveError> {
    let Wanted { kind, word, name, namespace } = wanted(&asking.texts, asking.settings)?;
    let plural = match kind {
        Kind::Task => "tasks",
        Kind::Pipeline => "pipelines",
        Kind::StepAction => "stepactions",
    };
    let found = asking.world.object(kind, namespace, name).await.map_err(ResolveError::Failed)?;
    let Some(stored) = found else {
        let group = asking.world.group();
        return Err(ResolveError::Failed(format!("{plural}.{group} {name:?} not found")));
    };
    let source = RefSource {
        uri: Some(format!(
            "/apis/{}/namespaces/{namespace}/{word}/{name}@{}",
            stored.api_version, stored.uid
        )),
        digest: [("sha256".to_owned(), sha256(&stored.json))].into(),
        entry_point: None,
    };
    let annotation = |key: &str, value: &str| (format!("resolution.tekton.dev/{key}"), value.to_owned());
    let annotations = [annotation("name", name), annotation("namespace", namespace)].into();
    Ok(Fetched { data: stored.json, source, annotations })
}

struct Wanted<'a> {
    kind: Kind,
    word: &'a str,
    name: &'a str,
    namespace: &'a str,
}

fn wanted<'a>(texts: &'a Texts, settings: &'a Texts) -> Result<Wanted<'a>, ResolveError> {
    let mut missing = Vec::new();
    let mut need = |name: &'static str, value: Option<&'a str>| {
        let value = value.map(str::trim).filter(|value| !value.is_empty());
        if value.is_none() {
            missing.push(name);
        }
        value.unwrap_or_default()
    };
    let word = need("kind", given(texts, "kind").or(settings.get("default-kind").map(String::as_str)));
    let name = need("name", given(texts, "name"));
    let default = settings.get("default-namespace").map(String::as_str);
    let namespace = need("namespace", given(texts, "namespace").or(default));
    let kind = match word {
        "task" | "" => Kind::Task,
        "pipeline" => Kind::Pipeline,
        "stepaction" => Kind::StepAction,
        other => {
            return Err(ResolveError::Invalid(format!("unknown or unsupported resource kind '{other}'")));
        }
    };
    if !missing.is_empty() {
        let missing = missing.join(", ");
        return Err(ResolveError::Invalid(format!("missing required cluster resolver params: {missing}")));
    }
    let lists = |key: &str, name: &str| {
        settings.get(key).is_some_and(|list| list.split(',').any(|item| item.trim() == name))
    };
    let refused = if lists("blocked-namespaces", namespace) {
        format!("access to specified namespace {namespace} is blocked")
    } else if lists("allowed-namespaces", namespace) {
        return Ok(Wanted { kind, word, name, namespace });
    } else if lists("blocked-namespaces", "*") {
        "only explicit allowed access to namespaces is allowed".to_owned()
    } else if given(settings, "allowed-namespaces").is_some() {
        format!("access to specified namespace {namespace} is not allowed")
    } else {
        return Ok(Wanted { kind, word, name, namespace });
    };
    Err(ResolveError::Invalid(refused))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> Texts {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_is_wanted_and_who_may_have_it() {
        let check = |params: &[(&str, &str)], settings: &[(&str, &str)]| {
            let (params, settings) = (map(params), map(&[DEFAULTS, settings].concat()));
            wanted(&params, &settings).map(|wanted| wanted.kind).map_err(|error| error.to_string())
        };
        let full = [("kind", "pipeline"), ("name", "n"), ("namespace", "ns")];
        assert_eq!(check(&full, &[]), Ok(Kind::Pipeline));
        assert_eq!(check(&full[1..], &[]), Ok(Kind::Task));
        assert_eq!(
            check(&full[..1], &[]),
            Err("missing required cluster resolver params: name, namespace".to_owned())
        );
        assert_eq!(
            check(&[("kind", "pod")], &[]),
            Err("unknown or unsupported resource kind 'pod'".to_owned())
        );
        for (settings, expected) in [
            (&[("blocked-namespaces", "a, ns")][..], Some("access to specified namespace ns is blocked")),
            (&[("allowed-namespaces", "a, ns"), ("blocked-namespaces", "*")], None),
            (&[("blocked-namespaces", "*")], Some("only explicit allowed access to namespaces is allowed")),
            (&[("allowed-namespaces", "a")], Some("access to specified namespace ns is not allowed")),
        ] {
            let found = check(&full, settings).err();
            assert_eq!(found.as_deref(), expected, "{settings:?}");
        }
    }
}
