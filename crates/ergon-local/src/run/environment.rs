//! A container's variables, as the kubelet makes them.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, EnvVar, Pod};

use super::world::Files;

/// The variables of a container, in order; later ones may use earlier ones as `$(NAME)`.
///
/// # Errors
/// A sentence that names the variable: what it is taken from is not in the files.
pub(super) fn of(container: &Container, pod: &Pod, files: &Files) -> Result<Vec<(String, String)>, String> {
    let mut variables: Vec<(String, String)> = Vec::new();
    for source in container.env_from.iter().flatten() {
        let prefix = source.prefix.clone().unwrap_or_default();
        let (kind, name, known, optional) = if let Some(map) = &source.config_map_ref {
            ("ConfigMap", &map.name, &files.config_maps, map.optional)
        } else if let Some(secret) = &source.secret_ref {
            ("Secret", &secret.name, &files.secrets, secret.optional)
        } else {
            continue;
        };
        match known.get(name) {
            Some(data) => {
                for (key, value) in data {
                    set(
                        &mut variables,
                        format!("{prefix}{key}"),
                        String::from_utf8_lossy(value).into_owned(),
                    );
                }
            }
            None if optional == Some(true) => {}
            None => return Err(format!("envFrom: there is no {kind} `{name}` in the files")),
        }
    }
    for variable in container.env.iter().flatten() {
        if let Some(value) =
            value_of(variable, pod, files).map_err(|problem| format!("env `{}`: {problem}", variable.name))?
        {
            let value = expand(&value, &variables);
            set(&mut variables, variable.name.clone(), value);
        }
    }
    Ok(variables)
}

/// Replaces `$(NAME)` by earlier variables; `$$` is one `$`, and an unknown name stays as it is.
fn expand(text: &str, variables: &[(String, String)]) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(after) = rest.strip_prefix('$') {
            expanded.push('$');
            rest = after;
            continue;
        }
        let named = rest.strip_prefix('(').and_then(|inner| inner.split_once(')'));
        let value = named.and_then(|(name, after)| {
            variables.iter().find(|(known, _)| known == name).map(|(_, value)| (value, after))
        });
        match value {
            Some((value, after)) => {
                expanded.push_str(value);
                rest = after;
            }
            None => expanded.push('$'),
        }
    }
    expanded.push_str(rest);
    expanded
}

fn value_of(variable: &EnvVar, pod: &Pod, files: &Files) -> Result<Option<String>, String> {
    let Some(source) = &variable.value_from else {
        return Ok(Some(variable.value.clone().unwrap_or_default()));
    };
    if let Some(key) = &source.config_map_key_ref {
        return entry("ConfigMap", &key.name, &key.key, &files.config_maps, key.optional);
    }
    if let Some(key) = &source.secret_key_ref {
        return entry("Secret", &key.name, &key.key, &files.secrets, key.optional);
    }
    if let Some(field) = &source.field_ref {
        return Ok(Some(field_of(pod, &field.field_path)?));
    }
    Err("this kind of valueFrom exists only in a cluster".to_owned())
}

fn entry(
    kind: &str,
    name: &str,
    key: &str,
    known: &BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    optional: Option<bool>,
) -> Result<Option<String>, String> {
    match known.get(name).and_then(|data| data.get(key)) {
        Some(value) => Ok(Some(String::from_utf8_lossy(value).into_owned())),
        None if optional == Some(true) => Ok(None),
        None => Err(format!("there is no {kind} `{name}` with a key `{key}` in the files")),
    }
}

fn field_of(pod: &Pod, path: &str) -> Result<String, String> {
    let metadata = &pod.metadata;
    let keyed = |map: &Option<BTreeMap<String, String>>, prefix: &str| {
        let key = path.strip_prefix(prefix)?.strip_suffix("']")?;
        Some(map.as_ref().and_then(|map| map.get(key)).cloned().unwrap_or_default())
    };
    match path {
        "metadata.name" => Ok(metadata.name.clone().unwrap_or_default()),
        "metadata.namespace" => Ok(metadata.namespace.clone().unwrap_or_default()),
        "metadata.uid" => Ok(metadata.uid.clone().unwrap_or_default()),
        "status.podIP" | "status.hostIP" => Ok("127.0.0.1".to_owned()),
        "spec.nodeName" => Ok("localhost".to_owned()),
        "spec.serviceAccountName" => Ok("default".to_owned()),
        _ => keyed(&metadata.labels, "metadata.labels['")
            .or_else(|| keyed(&metadata.annotations, "metadata.annotations['"))
            .ok_or_else(|| format!("there is no field `{path}` on this machine")),
    }
}

fn set(variables: &mut Vec<(String, String)>, name: String, value: String) {
    match variables.iter_mut().find(|(known, _)| *known == name) {
        Some(pair) => pair.1 = value,
        None => variables.push((name, value)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_between_variables() {
        let known = [("A".to_owned(), "1".to_owned())];
        for (text, expected) in
            [("x$(A)y", "x1y"), ("$$(A)", "$(A)"), ("$(B)", "$(B)"), ("$", "$"), ("$A $(A", "$A $(A")]
        {
            assert_eq!(expand(text, &known), expected, "{text}");
        }
    }
}
