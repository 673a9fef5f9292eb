//! Bytes by their digest: nothing is kept that is not what its name says.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::ImageError;
use super::manifest::DOCUMENT_MAX;

/// The blobs of one store: `sha256/<hex>`.
#[derive(Debug, Clone)]
pub(crate) struct Blobs {
    dir: PathBuf,
    temp: PathBuf,
}

impl Blobs {
    pub fn open(dir: PathBuf, temp: PathBuf) -> Result<Self, ImageError> {
        let sha256 = dir.join("sha256");
        fs::create_dir_all(&sha256).map_err(ImageError::io("make directory", &sha256))?;
        Ok(Self { dir, temp })
    }

    pub fn path(&self, digest: &str) -> Result<PathBuf, ImageError> {
        Ok(self.dir.join("sha256").join(hex_of(digest)?))
    }

    /// Keeps a document under its digest, which is checked when one is `wanted`; gives back the digest.
    pub fn put(&self, bytes: &[u8], wanted: Option<&str>, what: &str) -> Result<String, ImageError> {
        let found = digest_of(bytes);
        if let Some(wanted) = wanted {
            hex_of(wanted)?;
            check_digest(what, wanted, &found)?;
        }
        let path = self.path(&found)?;
        if !path.exists() {
            let mut file =
                NamedTempFile::new_in(&self.temp).map_err(ImageError::io("make a file in", &self.temp))?;
            file.write_all(bytes)
                .and_then(|()| file.as_file().sync_all())
                .map_err(ImageError::io("write", file.path()))?;
            file.persist(&path).map_err(|error| ImageError::io("write", &path)(error.error))?;
        }
        Ok(found)
    }

    /// Reads a document back, and checks it again: a disk may lie.
    pub fn get(&self, digest: &str) -> Result<Vec<u8>, ImageError> {
        let path = self.path(digest)?;
        let file = File::open(&path).map_err(ImageError::io("open", &path))?;
        let bytes = read_document(file, digest)?;
        check_digest(&path.display().to_string(), digest, &digest_of(&bytes))?;
        Ok(bytes)
    }
}

pub(crate) fn check_digest(what: &str, wanted: &str, found: &str) -> Result<(), ImageError> {
    if wanted == found {
        Ok(())
    } else {
        Err(ImageError::Digest { what: what.to_owned(), wanted: wanted.to_owned(), found: found.to_owned() })
    }
}

/// Reads at most [`DOCUMENT_MAX`] bytes.
pub(crate) fn read_document(reader: impl Read, what: &str) -> Result<Vec<u8>, ImageError> {
    let mut bytes = Vec::new();
    reader.take(DOCUMENT_MAX + 1).read_to_end(&mut bytes).map_err(ImageError::io("read", Path::new(what)))?;
    let size = bytes.len() as u64;
    if size > DOCUMENT_MAX {
        return Err(ImageError::TooLarge { what: what.to_owned(), size, max: DOCUMENT_MAX });
    }
    Ok(bytes)
}

/// The 64 digits of a `sha256:` digest. Everything that becomes a file's name goes through here.
pub(crate) fn hex_of(digest: &str) -> Result<&str, ImageError> {
    digest
        .strip_prefix("sha256:")
        .filter(|hex| hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
        .ok_or_else(|| ImageError::UnknownDigest { digest: digest.to_owned() })
}

pub(crate) fn digest_of(bytes: &[u8]) -> String {
    named(&Sha256::digest(bytes))
}

fn named(hash: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::from("sha256:");
    for byte in hash {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Passes bytes through, hashing them, and fails past `max`.
pub(crate) struct Hashing<R> {
    inner: R,
    hash: Sha256,
    left: u64,
}

impl<R: Read> Hashing<R> {
    pub fn new(inner: R, max: u64) -> Self {
        Self { inner, hash: Sha256::new(), left: max }
    }

    /// Reads what is left and gives back the digest of everything.
    pub fn finish(mut self) -> io::Result<String> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(named(&self.hash.finalize()))
    }
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.left = self
            .left
            .checked_sub(count as u64)
            .ok_or_else(|| io::Error::new(io::ErrorKind::FileTooLarge, "more bytes than allowed"))?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_lower_case_sha256_digests_become_names() {
        let good = format!("sha256:{}", "0a".repeat(32));
        assert_eq!(hex_of(&good).unwrap(), "0a".repeat(32));
        for bad in ["sha256:../../etc", "sha512:00", "", &good.to_uppercase(), &good[..70]] {
            assert!(hex_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_blob_that_changed_on_disk_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Blobs::open(dir.path().join("blobs"), dir.path().to_path_buf()).unwrap();
        let digest = blobs.put(b"{}", None, "document").unwrap();
        assert_eq!(blobs.get(&digest).unwrap(), b"{}");
        fs::write(blobs.path(&digest).unwrap(), "{ }").unwrap();
        assert!(matches!(blobs.get(&digest), Err(ImageError::Digest { .. })));
        assert!(blobs.put(b"other", Some(&digest), "document").is_err());
    }
}
