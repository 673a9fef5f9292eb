//! A pod's volumes as folders of this machine.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use k8s_openapi::api::core::v1::{KeyToPath, PodSpec, Volume, VolumeMount};

use super::world::Files;
use crate::container::{Mount, MountSource};

/// Where each volume of a pod is, by the volume's name; a volume in memory has no folder.
pub(super) type Places = BTreeMap<String, MountSource>;

/// Makes all volumes of a pod under `folder`.
///
/// # Errors
/// A sentence that names the volume: a kind that this machine does not have, a claim or a map that is not there.
pub(super) fn make(spec: &PodSpec, files: &Files, folder: &Path, binaries: &Path) -> Result<Places, String> {
    spec.volumes
        .iter()
        .flatten()
        .map(|volume| {
            let place = place(volume, files, &folder.join(&volume.name), binaries)
                .map_err(|problem| format!("volume `{}`: {problem}", volume.name))?;
            Ok((volume.name.clone(), place))
        })
        .collect()
}

/// What a container sees of the volumes.
///
/// # Errors
/// A mount of a volume that the pod does not have, or a folder that cannot be made.
pub(super) fn mounts(wanted: &[VolumeMount], places: &Places) -> Result<Vec<Mount>, String> {
    let mut mounts: Vec<Mount> = wanted
        .iter()
        .map(|mount| {
            let place =
                places.get(&mount.name).ok_or_else(|| format!("there is no volume `{}`", mount.name))?;
            let source = match (place, mount.sub_path.as_deref().filter(|path| !path.is_empty())) {
                (MountSource::Bind(folder), Some(below)) => MountSource::Bind(sub_path(folder, below)?),
                (place, _) => place.clone(),
            };
            Ok(Mount {
                target: PathBuf::from(&mount.mount_path),
                source,
                read_only: mount.read_only == Some(true),
            })
        })
        .collect::<Result<_, String>>()?;
    // Outer folders before what is mounted inside them.
    mounts.sort_by_key(|mount| mount.target.components().count());
    Ok(mounts)
}

/// Makes a folder that any user may write to, as a volume of a cluster is.
pub(super) fn make_open_dir(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o777))
}

fn place(volume: &Volume, files: &Files, folder: &Path, binaries: &Path) -> Result<MountSource, String> {
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    if let Some(directory) = &volume.empty_dir {
        if directory.medium.as_deref() == Some("Memory") {
            return Ok(MountSource::Tmpfs { size_bytes: directory.size_limit.as_ref().and_then(bytes) });
        }
        make_open_dir(folder).map_err(failed)?;
    } else if volume.image.as_ref().is_some_and(|image| image.reference.as_deref() == Some("")) {
        // The one image volume that the engine makes: our own binaries.
        return Ok(MountSource::Bind(binaries.to_owned()));
    } else if let Some(claim) = &volume.persistent_volume_claim {
        let claims = files.claims.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        return claims.get(&claim.claim_name).cloned().map(MountSource::Bind).ok_or_else(|| {
            format!(
                "there is no PersistentVolumeClaim `{}`: add it to the files, or bind a folder with `-w NAME=PATH`",
                claim.claim_name
            )
        });
    } else if let Some(map) = &volume.config_map {
        let data = find("ConfigMap", &map.name, &files.config_maps, map.optional == Some(true))?;
        write_keys(folder, data, map.items.as_deref().unwrap_or_default(), &map.name)?;
    } else if let Some(secret) = &volume.secret {
        let name = secret.secret_name.clone().unwrap_or_default();
        let data = find("Secret", &name, &files.secrets, secret.optional == Some(true))?;
        write_keys(folder, data, secret.items.as_deref().unwrap_or_default(), &name)?;
    } else if let Some(projected) = &volume.projected {
        for source in projected.sources.iter().flatten() {
            if let Some(map) = &source.config_map {
                let data = find("ConfigMap", &map.name, &files.config_maps, map.optional == Some(true))?;
                write_keys(folder, data, map.items.as_deref().unwrap_or_default(), &map.name)?;
            } else if let Some(secret) = &source.secret {
                let data = find("Secret", &secret.name, &files.secrets, secret.optional == Some(true))?;
                write_keys(folder, data, secret.items.as_deref().unwrap_or_default(), &secret.name)?;
            } else {
                return Err("only ConfigMaps and Secrets can be projected on this machine".to_owned());
            }
        }
        make_open_dir(folder).map_err(failed)?;
    } else if let Some(host) = &volume.host_path {
        return Ok(MountSource::Bind(PathBuf::from(&host.path)));
    } else {
        return Err("this kind of volume exists only in a cluster".to_owned());
    }
    Ok(MountSource::Bind(folder.to_owned()))
}

fn find<'a>(
    kind: &str,
    name: &str,
    known: &'a BTreeMap<String, BTreeMap<String, Vec<u8>>>,
    optional: bool,
) -> Result<Option<&'a BTreeMap<String, Vec<u8>>>, String> {
    match known.get(name) {
        None if !optional => Err(format!("there is no {kind} `{name}` in the files")),
        found => Ok(found),
    }
}

fn write_keys(
    folder: &Path,
    data: Option<&BTreeMap<String, Vec<u8>>>,
    items: &[KeyToPath],
    of: &str,
) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", folder.display());
    make_open_dir(folder).map_err(failed)?;
    let Some(data) = data else { return Ok(()) };
    let chosen: Vec<(&str, &[u8])> = if items.is_empty() {
        data.iter().map(|(key, value)| (key.as_str(), value.as_slice())).collect()
    } else {
        items
            .iter()
            .map(|item| {
                let value = data.get(&item.key).ok_or_else(|| format!("`{of}` has no key `{}`", item.key))?;
                Ok((item.path.as_str(), value.as_slice()))
            })
            .collect::<Result<_, String>>()?
    };
    for (path, value) in chosen {
        let file = below(folder, path)?;
        if let Some(parent) = file.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        fs::write(&file, value).map_err(failed)?;
        fs::set_permissions(&file, Permissions::from_mode(0o644)).map_err(failed)?;
    }
    Ok(())
}

/// A folder below a volume; made if it is missing, and never outside.
fn sub_path(folder: &Path, path: &str) -> Result<PathBuf, String> {
    let wanted = below(folder, path)?;
    let failed = |error: io::Error| format!("{}: {error}", wanted.display());
    if !wanted.exists() {
        make_open_dir(&wanted).map_err(failed)?;
    }
    // A link in the volume must not lead out of it.
    let real = wanted.canonicalize().map_err(failed)?;
    if real.starts_with(folder.canonicalize().map_err(failed)?) {
        Ok(real)
    } else {
        Err(format!("`{path}` leads out of the volume"))
    }
}

fn below(folder: &Path, path: &str) -> Result<PathBuf, String> {
    let path = Path::new(path);
    let plain = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if plain { Ok(folder.join(path)) } else { Err(format!("`{}` is no path below it", path.display())) }
}

fn bytes(quantity: &k8s_openapi::apimachinery::pkg::api::resource::Quantity) -> Option<u64> {
    let text = quantity.0.trim();
    let (number, factor) = match text.find(|at: char| !at.is_ascii_digit()) {
        None => (text, 1),
        Some(end) => {
            let factor = match &text[end..] {
                "k" => 1000,
                "M" => 1_000_000,
                "G" => 1_000_000_000,
                "Ki" => 1 << 10,
                "Mi" => 1 << 20,
                "Gi" => 1 << 30,
                _ => return None,
            };
            (&text[..end], factor)
        }
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sub_path_stays_in_its_volume() {
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", folder.path().join("link")).unwrap();
        assert!(sub_path(folder.path(), "a/b").unwrap().ends_with("a/b"));
        for path in ["..", "/etc", "a/../../b", "link"] {
            assert!(sub_path(folder.path(), path).is_err(), "{path}");
        }
    }

    #[test]
    fn sizes() {
        let size =
            |text: &str| bytes(&k8s_openapi::apimachinery::pkg::api::resource::Quantity(text.to_owned()));
        assert_eq!(size("64Mi"), Some(64 << 20));
        assert_eq!(size("1k"), Some(1000));
        assert_eq!(size("5"), Some(5));
        assert_eq!(size("much"), None);
    }
}
