//! Images from files: OCI layouts (a directory or a tar) and what `docker save` writes, packed or not.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use tar::{Archive, EntryType};
use tempfile::tempfile_in;

use super::blob::{check_digest, digest_of, hex_of, read_document};
use super::decompress::decompress;
use super::manifest::{
    ConfigFile, Descriptor, DockerImage, Manifest, NAME_CONTAINERD, NAME_OCI, choose_platform, parse,
};
use super::store::Entry;
use super::{ImageError, ImageRef, Store};
use crate::rooted::normal_names;

/// How deep indexes may lie in one another.
const NESTING_MAX: u32 = 4;

impl Store {
    /// Brings in every image of an archive or a layout directory, and gives back their names.
    /// `name` is for an archive of one image, and takes the place of the name inside. An image with no name at all
    /// is known by its digest.
    pub fn import(&self, path: &Path, name: Option<&str>) -> Result<Vec<String>, ImageError> {
        let name = name.map(ImageRef::parse).transpose()?;
        let source = Source::open(path, self.temp())?;
        let found = if source.has("index.json") {
            self.import_layout(&source)?
        } else if source.has("manifest.json") {
            self.import_docker(&source)?
        } else {
            return Err(source.unfit("it has neither index.json (OCI) nor manifest.json (docker save)"));
        };
        if name.is_some() && found.len() != 1 {
            return Err(source.unfit(&format!("it has {} images, so one name does not do", found.len())));
        }
        let mut imported = Vec::new();
        for (names, entry) in found {
            let names = name.clone().map_or(names, |name| vec![name]);
            for name in &names {
                self.name(name, &entry)?;
            }
            if names.is_empty() {
                imported.push(entry.manifest);
            } else {
                imported.extend(names.iter().map(ToString::to_string));
            }
        }
        Ok(imported)
    }

    fn import_layout(&self, source: &Source) -> Result<Vec<(Vec<ImageRef>, Entry)>, ImageError> {
        let index: Manifest = parse(&source.document("index.json")?, "index.json")?;
        if index.manifests.is_empty() {
            return Err(source.unfit("its index.json lists no image"));
        }
        let entries = index
            .manifests
            .iter()
            .map(|descriptor| Ok((names_of(descriptor)?, self.import_manifest(source, descriptor, 0)?)));
        entries.collect()
    }

    fn import_manifest(
        &self,
        source: &Source,
        descriptor: &Descriptor,
        depth: u32,
    ) -> Result<Entry, ImageError> {
        let bytes = source.blob(descriptor)?;
        let manifest: Manifest = parse(&bytes, &descriptor.digest)?;
        let Some(config) = &manifest.config else {
            if depth >= NESTING_MAX {
                return Err(source.unfit("its indexes lie too deep in one another"));
            }
            let chosen = choose_platform(&manifest.manifests)?;
            let entry = self.import_manifest(source, chosen, depth + 1)?;
            return Ok(Entry { list: Some(descriptor.digest.clone()), ..entry });
        };
        let config_bytes = source.blob(config)?;
        let config_file: ConfigFile = parse(&config_bytes, &config.digest)?;
        let diff_ids = &config_file.rootfs.diff_ids;
        check_count(manifest.layers.len(), diff_ids.len())?;
        for (layer, diff_id) in manifest.layers.iter().zip(diff_ids) {
            if !self.has_layer(diff_id) {
                let reader = source.read(&blob_name(&layer.digest)?)?;
                self.add_layer(reader, diff_id, Some(&layer.digest))?;
            }
        }
        self.blobs().put(&config_bytes, Some(&config.digest), "config")?;
        let digest = self.blobs().put(&bytes, Some(&descriptor.digest), "manifest")?;
        Ok(Entry { manifest: digest, list: None })
    }

    fn import_docker(&self, source: &Source) -> Result<Vec<(Vec<ImageRef>, Entry)>, ImageError> {
        let images: Vec<DockerImage> = parse(&source.document("manifest.json")?, "manifest.json")?;
        images.iter().map(|image| self.import_docker_image(source, image)).collect()
    }

    fn import_docker_image(
        &self,
        source: &Source,
        image: &DockerImage,
    ) -> Result<(Vec<ImageRef>, Entry), ImageError> {
        let config_bytes = source.document(&image.config)?;
        let config: ConfigFile = parse(&config_bytes, &image.config)?;
        let diff_ids = &config.rootfs.diff_ids;
        check_count(image.layers.len(), diff_ids.len())?;
        let mut layers = Vec::new();
        for (file, diff_id) in image.layers.iter().zip(diff_ids) {
            if !self.has_layer(diff_id) {
                self.add_layer(source.read(file)?, diff_id, None)?;
            }
            layers.push(Descriptor {
                media_type: "application/vnd.oci.image.layer.v1.tar".to_owned(),
                digest: diff_id.clone(),
                size: source.size(file)?,
                ..Descriptor::default()
            });
        }
        let config_digest = self.blobs().put(&config_bytes, None, "config")?;
        // The archive has no manifest in OCI's sense; the store wants one for each image.
        let manifest = Manifest {
            schema_version: 2,
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            config: Some(Descriptor {
                media_type: "application/vnd.oci.image.config.v1+json".to_owned(),
                digest: config_digest,
                size: config_bytes.len() as u64,
                ..Descriptor::default()
            }),
            layers,
            manifests: Vec::new(),
        };
        let bytes = serde_json::to_vec(&manifest)
            .map_err(|source| ImageError::Document { what: "manifest".to_owned(), source })?;
        let digest = self.blobs().put(&bytes, None, "manifest")?;
        let tags = image.repo_tags.iter().flatten();
        let names = tags.map(|tag| ImageRef::parse(tag)).collect::<Result<_, _>>()?;
        Ok((names, Entry { manifest: digest, list: None }))
    }
}

pub(super) fn check_count(layers: usize, diff_ids: usize) -> Result<(), ImageError> {
    if layers == diff_ids { Ok(()) } else { Err(ImageError::LayerCount { layers, diff_ids }) }
}

/// The names that an index gives an image. A tag without a name is no name.
fn names_of(descriptor: &Descriptor) -> Result<Vec<ImageRef>, ImageError> {
    let annotation = |key| descriptor.annotations.get(key).filter(|text| !text.is_empty());
    let whole =
        annotation(NAME_CONTAINERD).or_else(|| annotation(NAME_OCI).filter(|text| text.contains(['/', ':'])));
    whole.map(|text| ImageRef::parse(text)).into_iter().collect()
}

fn blob_name(digest: &str) -> Result<String, ImageError> {
    Ok(format!("blobs/sha256/{}", hex_of(digest)?))
}

/// An archive or a directory, read by the names of its files.
enum Source {
    Directory(PathBuf),
    Archive { path: PathBuf, file: File, members: HashMap<PathBuf, Member> },
}

enum Member {
    /// Where the content is in the file, and how long it is; bytes.
    File { offset: u64, size: u64 },
    /// `docker save` once wrote a layer that two images share as a link.
    Link(PathBuf),
}

impl Source {
    fn open(path: &Path, temp: &Path) -> Result<Self, ImageError> {
        if path.is_dir() {
            return Ok(Self::Directory(path.to_path_buf()));
        }
        let unfit = |error: io::Error| ImageError::NotAnArchive {
            path: path.to_path_buf(),
            reason: error.to_string(),
        };
        let mut file = File::open(path).map_err(ImageError::io("open", path))?;
        let mut head = [0; 2];
        let count = file.read(&mut head).map_err(ImageError::io("read", path))?;
        file.rewind().map_err(ImageError::io("read", path))?;
        if matches!(&head[..count], [0x1f, 0x8b] | [0x28, 0xb5]) {
            // Members are read in no order of the archive's, so it has to lie there plain.
            let mut plain = tempfile_in(temp).map_err(ImageError::io("make a file in", temp))?;
            let mut content = decompress(file).map_err(unfit)?;
            io::copy(&mut content, &mut plain).map_err(unfit)?;
            plain.rewind().map_err(ImageError::io("read", temp))?;
            drop(content);
            file = plain;
        }
        let members = list_members(&file).map_err(unfit)?;
        Ok(Self::Archive { path: path.to_path_buf(), file, members })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Directory(path) | Self::Archive { path, .. } => path,
        }
    }

    fn unfit(&self, reason: &str) -> ImageError {
        ImageError::NotAnArchive { path: self.path().to_path_buf(), reason: reason.to_owned() }
    }

    fn has(&self, name: &str) -> bool {
        match self {
            Self::Directory(dir) => dir.join(name).is_file(),
            Self::Archive { members, .. } => members.contains_key(Path::new(name)),
        }
    }

    fn size(&self, name: &str) -> Result<u64, ImageError> {
        match self {
            Self::Directory(dir) => {
                let path = self.inside(dir, name)?;
                Ok(path.metadata().map_err(ImageError::io("read", &path))?.len())
            }
            Self::Archive { .. } => Ok(self.member(name)?.1),
        }
    }

    fn read(&self, name: &str) -> Result<Box<dyn Read + '_>, ImageError> {
        match self {
            Self::Directory(dir) => {
                let path = self.inside(dir, name)?;
                Ok(Box::new(File::open(&path).map_err(ImageError::io("open", &path))?))
            }
            Self::Archive { path, file, .. } => {
                let (offset, size) = self.member(name)?;
                let mut file = file;
                file.seek(SeekFrom::Start(offset)).map_err(ImageError::io("read", path))?;
                Ok(Box::new(file.take(size)))
            }
        }
    }

    fn document(&self, name: &str) -> Result<Vec<u8>, ImageError> {
        read_document(self.read(name)?, name)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>, ImageError> {
        let bytes = self.document(&blob_name(&descriptor.digest)?)?;
        check_digest("document", &descriptor.digest, &digest_of(&bytes))?;
        Ok(bytes)
    }

    fn inside(&self, dir: &Path, name: &str) -> Result<PathBuf, ImageError> {
        let names =
            normal_names(Path::new(name)).ok_or_else(|| self.unfit(&format!("`{name}` leads out of it")))?;
        Ok(dir.join(names))
    }

    fn member(&self, name: &str) -> Result<(u64, u64), ImageError> {
        let Self::Archive { members, .. } = self else { return Err(self.unfit("not an archive")) };
        let mut path = PathBuf::from(name);
        for _ in 0..NESTING_MAX {
            match members.get(&path) {
                Some(Member::File { offset, size }) => return Ok((*offset, *size)),
                Some(Member::Link(target)) => path.clone_from(target),
                None => break,
            }
        }
        Err(self.unfit(&format!("it has no `{name}`")))
    }
}

fn list_members(file: &File) -> io::Result<HashMap<PathBuf, Member>> {
    let mut archive = Archive::new(file);
    let mut members = HashMap::new();
    for entry in archive.entries_with_seek()? {
        let entry = entry?;
        let Some(path) = normal_names(&entry.path()?) else { continue };
        let member = match entry.header().entry_type() {
            EntryType::Regular | EntryType::Continuous => {
                Member::File { offset: entry.raw_file_position(), size: entry.size() }
            }
            kind @ (EntryType::Symlink | EntryType::Link) => {
                let Some(target) = entry.link_name()? else { continue };
                let from = if kind == EntryType::Link { None } else { path.parent() };
                match lexical(&from.unwrap_or(Path::new("")).join(target)) {
                    Some(target) => Member::Link(target),
                    None => continue,
                }
            }
            _ => continue,
        };
        members.insert(path, member);
    }
    Ok(members)
}

/// Takes `..` out by name alone: it only looks up other members, never a file.
fn lexical(path: &Path) -> Option<PathBuf> {
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            std::path::Component::ParentDir if !out.pop() => return None,
            std::path::Component::Normal(name) => out.push(name),
            _ => {}
        }
    }
    Some(out)
}
