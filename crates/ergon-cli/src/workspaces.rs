//! `-w NAME=WHERE` for runs in a cluster.

use ergon_api::WorkspaceBinding;
use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, EmptyDirVolumeSource, PersistentVolumeClaim, PersistentVolumeClaimSpec,
    PersistentVolumeClaimVolumeSource, SecretVolumeSource, VolumeResourceRequirements,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// How the value of `-w` is written; part of the help.
pub const FORMS: &str =
    "emptyDir, claim:NAME[/FOLDER], size:1Gi (a new claim), configmap:NAME or secret:NAME";

/// Reads `NAME=WHERE`.
pub fn parse(text: &str) -> Result<WorkspaceBinding, String> {
    let (name, place) =
        text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or("write `NAME=WHERE`")?;
    let mut binding = WorkspaceBinding { name: name.to_owned(), ..WorkspaceBinding::default() };
    let (form, value) = place.split_once(':').unwrap_or((place, ""));
    match (form, value) {
        ("emptyDir", "") => binding.empty_dir = Some(EmptyDirVolumeSource::default()),
        ("claim", value) if !value.is_empty() => {
            let (claim, folder) = value.split_once('/').unwrap_or((value, ""));
            binding.persistent_volume_claim = Some(PersistentVolumeClaimVolumeSource {
                claim_name: claim.to_owned(),
                ..PersistentVolumeClaimVolumeSource::default()
            });
            binding.sub_path = Some(folder.to_owned()).filter(|folder| !folder.is_empty());
        }
        ("size", value) if !value.is_empty() => binding.volume_claim_template = Some(claim(value)),
        ("configmap", value) if !value.is_empty() => {
            binding.config_map =
                Some(ConfigMapVolumeSource { name: value.to_owned(), ..ConfigMapVolumeSource::default() });
        }
        ("secret", value) if !value.is_empty() => {
            binding.secret = Some(SecretVolumeSource {
                secret_name: Some(value.to_owned()),
                ..SecretVolumeSource::default()
            });
        }
        _ => return Err(format!("`{place}` is no place; write {FORMS}")),
    }
    Ok(binding)
}

/// A claim of this size that the run owns.
fn claim(size: &str) -> PersistentVolumeClaim {
    PersistentVolumeClaim {
        spec: Some(PersistentVolumeClaimSpec {
            access_modes: Some(vec!["ReadWriteOnce".to_owned()]),
            resources: Some(VolumeResourceRequirements {
                requests: Some([("storage".to_owned(), Quantity(size.to_owned()))].into()),
                ..VolumeResourceRequirements::default()
            }),
            ..PersistentVolumeClaimSpec::default()
        }),
        ..PersistentVolumeClaim::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_become_bindings() {
        let table = [
            ("a=emptyDir", r#"{"name":"a","emptyDir":{}}"#),
            ("a=claim:c", r#"{"name":"a","persistentVolumeClaim":{"claimName":"c"}}"#),
            ("a=claim:c/x/y", r#"{"name":"a","subPath":"x/y","persistentVolumeClaim":{"claimName":"c"}}"#),
            ("a=configmap:c", r#"{"name":"a","configMap":{"name":"c"}}"#),
            ("a=secret:s", r#"{"name":"a","secret":{"secretName":"s"}}"#),
        ];
        for (text, expected) in table {
            assert_eq!(serde_json::to_string(&parse(text).unwrap()).unwrap(), expected, "{text}");
        }
        assert_eq!(parse("a=size:2Gi").unwrap().kinds(), ["volumeClaimTemplate"]);
    }

    #[test]
    fn other_places_are_refused() {
        for text in ["a", "=emptyDir", "a=claim:", "a=/tmp", "a=emptyDir:x"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
