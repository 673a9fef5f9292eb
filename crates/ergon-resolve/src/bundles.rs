//! `bundles`: a layer of an image in a registry.

use std::io::{Cursor, Read};

use ergon_api::RefSource;
use ergon_engine::remote::Request;
use flate2::read::MultiGzDecoder;
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, ImageIndexEntry, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest, OciManifest,
};
use oci_client::{Reference, RegistryOperation};

use crate::params::given;
use crate::registry::{self, Login};
use crate::resolvers::Asking;
use crate::web::MOST_BYTES;
use crate::{Backoff, Fetched, ResolveError, World};

/// What a new installation has for settings.
pub(crate) const DEFAULTS: &[(&str, &str)] =
    &[("default-service-account", "default"), ("default-kind", "task")];

const NAME: &str = "dev.tekton.image.name";
const KIND: &str = "dev.tekton.image.kind";
const API_VERSION: &str = "dev.tekton.image.apiVersion";
/// A bundle has no more objects.
const MOST_OBJECTS: usize = 20;
/// The kinds of manifest that a bundle may have: of an image, and of an index of images.
const MANIFESTS: [&str; 4] = [
    OCI_IMAGE_MEDIA_TYPE,
    IMAGE_MANIFEST_MEDIA_TYPE,
    OCI_IMAGE_INDEX_MEDIA_TYPE,
    IMAGE_MANIFEST_LIST_MEDIA_TYPE,
];
/// How many indexes may lead to the image.
const MOST_INDEXES: usize = 4;

/// Whether the bundle is named by its digest.
pub(crate) fn is_immutable(request: &Request) -> bool {
    request.text("bundle").is_some_and(|bundle| bundle.contains("@sha256:"))
}

/// Reads the object of this kind and name.
pub(crate) async fn resolve<W: World>(asking: &Asking<'_, W>) -> Result<Fetched, ResolveError> {
    let invalid = |message: String| ResolveError::Invalid(message);
    let (texts, settings) = (&asking.texts, asking.settings);
    let required =
        |name: &str| given(texts, name).ok_or_else(|| invalid(format!("parameter {name:?} required")));
    let account =
        given(texts, "serviceAccount").or(given(settings, "default-service-account")).ok_or_else(|| {
            invalid(
                "default Service Account was not set during installation of the bundle resolver".to_owned(),
            )
        })?;
    let bundle = required("bundle")?;
    let image: Reference =
        bundle.parse().map_err(|error| invalid(format!("invalid bundle reference: {error}")))?;
    let name = required("name")?;
    let kind = given(texts, "kind").or(given(settings, "default-kind")).ok_or_else(|| {
        invalid("default resource Kind was not set during installation of the bundle resolver".to_owned())
    })?;

    let failed = |message: String| ResolveError::Failed(message);
    let secrets =
        asking.world.pull_secrets(account, given(texts, "secret")).await.map_err(ResolveError::Failed)?;
    let logins = registry::logins(&secrets, &image);
    let authorities = asking.world.authorities().await;
    let pull =
        Pull { image: &image, logins: &logins, authorities: &authorities, backoff: &asking.web.backoff };
    let (manifest, digest) = pull.image().await.map_err(failed)?;
    check(&manifest.layers).map_err(|why| failed(format!("invalid tekton bundle {bundle}, error: {why}")))?;
    let wanted = manifest.layers.iter().find(|layer| {
        annotation(layer, NAME) == Some(name)
            && annotation(layer, KIND).is_some_and(|found| found.eq_ignore_ascii_case(kind))
    });
    let Some(layer) = wanted else {
        return Err(failed(format!(
            "could not find object in image with kind: {kind} and name: {name} (there are: {})",
            told(&manifest.layers)
        )));
    };
    let blob = pull.layer(layer).await.map_err(|why| failed(format!("failed to read image layer: {why}")))?;
    let data = object(&blob).map_err(|why| failed(format!("failed to read image layer: {why}")))?;
    let annotations = [KIND, NAME, API_VERSION]
        .into_iter()
        .map(|key| {
            (format!("resolution.tekton.dev/{key}"), annotation(layer, key).unwrap_or_default().to_owned())
        })
        .collect();
    let (algorithm, hash) = digest.split_once(':').unwrap_or(("sha256", &digest));
    let source = RefSource {
        uri: Some(context(&image)),
        digest: [(algorithm.to_owned(), hash.to_owned())].into(),
        entry_point: Some(name.to_owned()),
    };
    Ok(Fetched { data, source, annotations })
}

/// What is read of a bundle, and as whom.
struct Pull<'a> {
    image: &'a Reference,
    logins: &'a [Login],
    authorities: &'a str,
    backoff: &'a Backoff,
}

impl Pull<'_> {
    /// The manifest of the image, and its digest. Of an index it is the image that Tekton takes.
    async fn image(&self) -> Result<(OciImageManifest, String), String> {
        let mut image = self.image.clone();
        for _ in 0..=MOST_INDEXES {
            let (manifest, digest) =
                self.manifest(&image).await.map_err(|why| format!("cannot retrieve the oci image: {why}"))?;
            let manifest: OciManifest = serde_json::from_slice(&manifest)
                .map_err(|error| format!("could not parse image manifest: {error}"))?;
            match manifest {
                OciManifest::Image(manifest) => return Ok((manifest, digest)),
                OciManifest::ImageIndex(index) => {
                    let digest = of_index(&index.manifests)
                        .map_err(|why| format!("cannot retrieve the oci image: {why}"))?;
                    image = image.clone_with_digest(digest.to_owned());
                }
            }
        }
        Err(format!("cannot retrieve the oci image: more than {MOST_INDEXES} indexes are inside each other"))
    }

    async fn manifest(&self, image: &Reference) -> Result<(Vec<u8>, String), String> {
        let Self { logins, authorities, backoff, .. } = *self;
        registry::read(image, logins, authorities, backoff, |client, auth| {
            let image = image.clone();
            Box::pin(async move {
                let (manifest, digest) = client.pull_manifest_raw(&image, auth, &MANIFESTS).await?;
                Ok((manifest.to_vec(), digest))
            })
        })
        .await
    }

    async fn layer(&self, layer: &OciDescriptor) -> Result<Vec<u8>, String> {
        let size = usize::try_from(layer.size).ok().filter(|size| *size <= MOST_BYTES);
        let size = size.ok_or_else(|| format!("it has more than {MOST_BYTES} bytes"))?;
        let Self { image, logins, authorities, backoff } = *self;
        registry::read(image, logins, authorities, backoff, |client, auth| {
            let (image, layer) = (image.clone(), layer.clone());
            Box::pin(async move {
                client.auth(&image, auth, RegistryOperation::Pull).await?;
                // No more than the manifest says, whatever is sent; the digest is checked as well.
                let mut blob = vec![0; size];
                client.pull_blob(&image, &layer, Cursor::new(blob.as_mut_slice())).await?;
                Ok(blob)
            })
        })
        .await
    }
}

/// The digest of an index's image for `linux/amd64`, which is what Tekton takes on every machine, and what an image
/// without a platform counts as. A bundle has nothing that is for a machine, so the only image does as well.
fn of_index(images: &[ImageIndexEntry]) -> Result<&str, String> {
    let platform = |image: &ImageIndexEntry| match &image.platform {
        Some(platform) => format!("{}/{}", platform.os, platform.architecture),
        None => "linux/amd64".to_owned(),
    };
    // Attestations are listed beside the images that they are about.
    let images: Vec<(String, &str)> = images
        .iter()
        .map(|image| (platform(image), image.digest.as_str()))
        .filter(|(platform, _)| platform != "unknown/unknown")
        .collect();
    match images.iter().find(|(platform, _)| platform == "linux/amd64").or(images.first()) {
        Some((platform, digest)) if platform == "linux/amd64" || images.len() == 1 => Ok(digest),
        _ => {
            let platforms: Vec<&str> = images.iter().map(|(platform, _)| platform.as_str()).collect();
            Err(format!(
                "the index has no image for linux/amd64, and not just one (there are: {})",
                platforms.join(", ")
            ))
        }
    }
}

fn annotation<'a>(layer: &'a OciDescriptor, key: &str) -> Option<&'a str> {
    layer.annotations.as_ref()?.get(key).map(String::as_str)
}

fn told(layers: &[OciDescriptor]) -> String {
    let one = |layer: &OciDescriptor| {
        format!(
            "{} `{}`",
            annotation(layer, KIND).unwrap_or_default(),
            annotation(layer, NAME).unwrap_or_default()
        )
    };
    layers.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// The contract of Tekton's bundles.
fn check(layers: &[OciDescriptor]) -> Result<(), String> {
    if layers.len() > MOST_OBJECTS {
        return Err(format!("contained more than the maximum {MOST_OBJECTS} allow objects"));
    }
    for (at, layer) in layers.iter().enumerate() {
        for key in [API_VERSION, NAME, KIND] {
            if annotation(layer, key).is_none() {
                return Err(format!("the layer {at} does not contain a {key} annotation"));
            }
        }
        let kind = annotation(layer, KIND).unwrap_or_default();
        if kind.to_lowercase().trim_end_matches('s') != kind {
            return Err(format!(
                "the layer {at} the annotation {KIND} must be lowercased and singular, found {kind}"
            ));
        }
    }
    Ok(())
}

/// The first file of an archive, packed or not; what is no archive is the object itself.
fn object(blob: &[u8]) -> Result<Vec<u8>, String> {
    let most = u64::try_from(MOST_BYTES).unwrap_or(u64::MAX);
    let plain = if blob.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        MultiGzDecoder::new(blob)
            .take(most + 1)
            .read_to_end(&mut plain)
            .map_err(|error| error.to_string())?;
        if plain.len() > MOST_BYTES {
            return Err(format!("it has more than {MOST_BYTES} bytes when unpacked"));
        }
        plain
    } else {
        blob.to_vec()
    };
    let mut archive = tar::Archive::new(plain.as_slice());
    let first = archive.entries().ok().and_then(|mut entries| entries.next()).and_then(Result::ok);
    let Some(entry) = first else { return Ok(plain) };
    let mut data = Vec::new();
    entry.take(most).read_to_end(&mut data).map_err(|error| error.to_string())?;
    Ok(data)
}

/// The image without its tag and digest, by the name that Docker's own tools give it.
fn context(image: &Reference) -> String {
    let registry = match image.registry() {
        "docker.io" => "index.docker.io",
        registry => registry,
    };
    format!("{registry}/{}", image.repository())
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn layer(kind: &str, name: Option<&str>) -> OciDescriptor {
        let mut annotations = std::collections::BTreeMap::from([
            (KIND.to_owned(), kind.to_owned()),
            (API_VERSION.to_owned(), "v1".to_owned()),
        ]);
        annotations.extend(name.map(|name| (NAME.to_owned(), name.to_owned())));
        OciDescriptor { annotations: Some(annotations), ..Default::default() }
    }

    #[test]
    fn the_contract() {
        assert_eq!(check(&[layer("task", Some("a"))]), Ok(()));
        assert_eq!(
            check(&[layer("Tasks", Some("a"))]),
            Err("the layer 0 the annotation dev.tekton.image.kind must be lowercased and singular, found Tasks"
                .to_owned())
        );
        assert_eq!(
            check(&[layer("task", None)]),
            Err("the layer 0 does not contain a dev.tekton.image.name annotation".to_owned())
        );
        assert!(check(&vec![layer("task", Some("a")); 21]).is_err());
    }

    #[test]
    fn layers_are_archives_packed_or_not_or_plain() {
        let mut archive = tar::Builder::new(Vec::new());
        let mut header = tar::Header::new_gnu();
        header.set_size(4);
        header.set_mode(0o644);
        archive.append_data(&mut header, "task", &b"kind"[..]).unwrap();
        let archive = archive.into_inner().unwrap();
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(&archive).unwrap();
        for blob in [packed.finish().unwrap(), archive, b"kind".to_vec()] {
            assert_eq!(object(&blob), Ok(b"kind".to_vec()));
        }
        let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        bomb.write_all(&vec![0; MOST_BYTES + 1]).unwrap();
        assert!(object(&bomb.finish().unwrap()).is_err());
    }

    #[test]
    fn names_of_images_in_provenance() {
        for (image, expected) in [
            (
                "ghcr.io/x/y@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef",
                "ghcr.io/x/y",
            ),
            ("busybox:1", "index.docker.io/library/busybox"),
        ] {
            assert_eq!(context(&image.parse().unwrap()), expected);
        }
    }
}
