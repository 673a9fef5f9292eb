//! Reading a pack: objects, many of them as differences to others.

use std::collections::HashMap;
use std::io::Read as _;

use flate2::bufread::ZlibDecoder;

use super::fetch::GitError;
use super::objects::{Kind, Objects};
use crate::params::hex;

/// No more bytes are unpacked, all objects together.
const MOST_UNPACKED: u64 = 256 << 20;

/// Puts all objects of a pack into `objects`.
pub(super) fn read(pack: &[u8], objects: &mut Objects) -> Result<(), GitError> {
    let head = pack.get(..12).ok_or(GitError::CutOff)?;
    if &head[..4] != b"PACK" || !matches!(number(&head[4..8]), 2 | 3) {
        return Err(GitError::Pack("it is no pack"));
    }
    let count = number(&head[8..12]);
    let mut reader = Reader { pack, at: 12, left: MOST_UNPACKED };
    // Where objects begin: differences name others by that.
    let mut places: HashMap<usize, (Kind, Vec<u8>)> = HashMap::new();
    // By what they are differences to: each is looked at once, in whatever order a server sends them.
    let mut waiting: HashMap<Base, Vec<(usize, Vec<u8>)>> = HashMap::new();
    let mut open = Vec::new();
    for _ in 0..count {
        let place = reader.at;
        match reader.object(place, objects.format.length())? {
            Entry::Whole(kind, data) => {
                places.insert(place, (kind, data));
                open.push(place);
            }
            Entry::Difference(base, data) => waiting.entry(base).or_default().push((place, data)),
        }
    }
    while let Some(place) = open.pop() {
        let Some((kind, whole)) = places.get(&place).filter(|_| !waiting.is_empty()) else { break };
        let (kind, name) = (*kind, objects.name_of(*kind, whole));
        let mut made = Vec::new();
        for base in [Base::Place(place), Base::Name(name)] {
            for (place, difference) in waiting.remove(&base).unwrap_or_default() {
                let object = apply(whole, &difference, reader.left)?;
                reader.left = reader.left.saturating_sub(object.len() as u64);
                made.push((place, object));
            }
        }
        for (place, object) in made {
            places.insert(place, (kind, object));
            open.push(place);
        }
    }
    if !waiting.is_empty() {
        return Err(GitError::Pack("a difference is to an object that is not there"));
    }
    for (_, (kind, data)) in places {
        objects.put(kind, data);
    }
    Ok(())
}

fn number(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte))
}

enum Entry {
    Whole(Kind, Vec<u8>),
    Difference(Base, Vec<u8>),
}

#[derive(PartialEq, Eq, Hash)]
enum Base {
    Place(usize),
    Name(String),
}

struct Reader<'a> {
    pack: &'a [u8],
    at: usize,
    /// How many bytes may still be unpacked.
    left: u64,
}

impl Reader<'_> {
    fn byte(&mut self) -> Result<u8, GitError> {
        let byte = *self.pack.get(self.at).ok_or(GitError::CutOff)?;
        self.at += 1;
        Ok(byte)
    }

    fn object(&mut self, place: usize, name_length: usize) -> Result<Entry, GitError> {
        let first = self.byte()?;
        let mut size = u64::from(first & 0xf);
        let (mut more, mut shift) = (first & 0x80 != 0, 4);
        while more {
            let byte = self.byte()?;
            if shift > 50 {
                return Err(GitError::Pack("it is too large"));
            }
            size |= u64::from(byte & 0x7f) << shift;
            shift += 7;
            more = byte & 0x80 != 0;
        }
        let kind = match first >> 4 & 7 {
            1 => Kind::Commit,
            2 => Kind::Tree,
            3 => Kind::Blob,
            4 => Kind::Tag,
            6 => {
                let mut byte = self.byte()?;
                let mut back = usize::from(byte & 0x7f);
                while byte & 0x80 != 0 {
                    byte = self.byte()?;
                    back = back
                        .checked_add(1)
                        .and_then(|back| back.checked_mul(128))
                        .ok_or(GitError::Pack("a difference is to nothing"))?
                        | usize::from(byte & 0x7f);
                }
                let base = place.checked_sub(back).ok_or(GitError::Pack("a difference is to nothing"))?;
                return Ok(Entry::Difference(Base::Place(base), self.unpack(size)?));
            }
            7 => {
                let name = self.pack.get(self.at..self.at + name_length).ok_or(GitError::CutOff)?;
                let base = Base::Name(hex(name));
                self.at += name_length;
                return Ok(Entry::Difference(base, self.unpack(size)?));
            }
            _ => return Err(GitError::Pack("an object is of an unknown kind")),
        };
        Ok(Entry::Whole(kind, self.unpack(size)?))
    }

    fn unpack(&mut self, size: u64) -> Result<Vec<u8>, GitError> {
        self.left = self.left.checked_sub(size).ok_or(GitError::Pack("it is too large"))?;
        let mut decoder = ZlibDecoder::new(&self.pack[self.at..]);
        let mut data = Vec::new();
        let read = decoder.by_ref().take(size + 1).read_to_end(&mut data);
        read.map_err(|_| GitError::Pack("an object cannot be unpacked"))?;
        if data.len() as u64 != size {
            return Err(GitError::Pack("an object has another size than it says"));
        }
        // What is left is the checksum, which the name of the object makes up for.
        self.at += usize::try_from(decoder.total_in()).map_err(|_| GitError::CutOff)?;
        Ok(data)
    }
}

/// The object that a difference makes of another, of at most so many bytes.
fn apply(base: &[u8], difference: &[u8], most: u64) -> Result<Vec<u8>, GitError> {
    const BROKEN: GitError = GitError::Pack("a difference cannot be applied");
    let mut rest = difference;
    let mut size = || -> Result<usize, GitError> {
        let (mut size, mut shift) = (0_usize, 0);
        loop {
            let (&byte, after) = rest.split_first().ok_or(BROKEN)?;
            rest = after;
            if shift > 49 {
                return Err(BROKEN);
            }
            size |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                return Ok(size);
            }
        }
    };
    if size()? != base.len() {
        return Err(BROKEN);
    }
    let target = size()?;
    if target as u64 > most {
        return Err(GitError::Pack("it is too large"));
    }
    let mut made = Vec::with_capacity(target.min(1 << 20));
    while let Some((&code, after)) = rest.split_first() {
        rest = after;
        if code & 0x80 != 0 {
            let mut part = |bits: std::ops::Range<u8>| -> Result<usize, GitError> {
                let mut value = 0;
                for (at, bit) in bits.enumerate() {
                    if code & 1 << bit != 0 {
                        let (&byte, after) = rest.split_first().ok_or(BROKEN)?;
                        rest = after;
                        value |= usize::from(byte) << (8 * at);
                    }
                }
                Ok(value)
            };
            let from = part(0..4)?;
            let length = match part(4..7)? {
                0 => 0x10000,
                length => length,
            };
            made.extend_from_slice(base.get(from..from + length).ok_or(BROKEN)?);
        } else if code != 0 {
            let length = usize::from(code);
            made.extend_from_slice(rest.get(..length).ok_or(BROKEN)?);
            rest = &rest[length..];
        } else {
            return Err(BROKEN);
        }
        if made.len() > target {
            return Err(BROKEN);
        }
    }
    if made.len() == target { Ok(made) } else { Err(BROKEN) }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::super::objects::Format;
    use super::*;

    #[test]
    fn differences_copy_and_insert() {
        // Of 6 bytes make 5: 3 from the second on, then 2 new ones.
        let difference = [6, 5, 0x91, 1, 3, 2, b'x', b'y'];
        assert_eq!(apply(b"abcdef", &difference, 5).unwrap(), b"bcdxy");
        assert!(apply(b"abcdef", &difference, 4).is_err(), "more than is allowed");
        for broken in [&[5, 5][..], &[6, 5, 0], &[6, 5, 0x91, 5, 3], &[6, 1, 2, b'x', b'y'], &[0x80; 12]] {
            assert!(apply(b"abcdef", broken, 100).is_err(), "{broken:?}");
        }
    }

    /// A blob, and differences that make longer ones of it, each of the one before: the last first.
    fn chain(length: usize) -> (Vec<u8>, Vec<String>) {
        let format = Format::Sha1;
        let objects = Objects::new(format);
        let contents: Vec<Vec<u8>> = (0..=length).map(|at| vec![b'x'; at + 1]).collect();
        let names: Vec<String> = contents.iter().map(|data| objects.name_of(Kind::Blob, data)).collect();
        let mut pack = [&b"PACK\0\0\0\x02"[..], &u32::try_from(length + 1).unwrap().to_be_bytes()].concat();
        for at in (1..=length).rev() {
            // Copies all there is, and adds one byte.
            let size =
                |size: usize| [u8::try_from(size & 0x7f).unwrap() | 0x80, u8::try_from(size >> 7).unwrap()];
            let copy = [0xb0, u8::try_from(at & 0xff).unwrap(), u8::try_from(at >> 8).unwrap(), 1, b'x'];
            let difference = [&size(at)[..], &size(at + 1), &copy].concat();
            pack.push(7 << 4 | u8::try_from(difference.len()).unwrap());
            pack.extend(
                (0..20).map(|byte| u8::from_str_radix(&names[at - 1][2 * byte..2 * byte + 2], 16).unwrap()),
            );
            pack.extend(packed(&difference));
        }
        pack.push(3 << 4 | 1);
        pack.extend(packed(b"x"));
        (pack, names)
    }

    fn packed(data: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_long_chain_of_differences_in_the_worst_order_takes_no_time() {
        let (pack, names) = chain(10_000);
        let start = std::time::Instant::now();
        let mut objects = Objects::new(Format::Sha1);
        read(&pack, &mut objects).unwrap();
        assert!(names.iter().all(|name| objects.has(name)));
        // Over each of the others for each of them, as a simple reader would go, takes minutes here.
        assert!(start.elapsed() < std::time::Duration::from_secs(20), "{:?}", start.elapsed());
    }

    #[test]
    fn a_difference_to_nothing_is_refused() {
        let (pack, _) = chain(1);
        let mut cut = pack[..pack.len() - 1 - packed(b"x").len()].to_vec();
        cut[11] = 1;
        let error = read(&cut, &mut Objects::new(Format::Sha1)).unwrap_err();
        assert!(error.to_string().ends_with("a difference is to an object that is not there"), "{error}");
    }

    proptest! {
        /// Whatever a server sends: an error, or objects under the names that their content has.
        #[test]
        fn nothing_that_is_sent_is_trusted(
            tail in prop::collection::vec(any::<u8>(), 0..200),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut objects = Objects::new(Format::Sha1);
            let _ = read(&tail, &mut objects);
            let _ = read(&[&b"PACK\0\0\0\x02\0\0\0\x03"[..], &tail].concat(), &mut objects);
            let _ = apply(b"abcdef", &tail, 1 << 20);
            let _ = apply(b"abcdef", &[&b"\x06\x20"[..], &tail].concat(), 1 << 20);
            let (mut pack, names) = chain(3);
            let at = at.index(pack.len());
            pack[at] = byte;
            let mut objects = Objects::new(Format::Sha1);
            if read(&pack, &mut objects).is_ok() {
                for (length, name) in names.iter().enumerate() {
                    if let Some(blob) = objects.blob(name) {
                        prop_assert_eq!(blob, vec![b'x'; length + 1]);
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_no_pack_is_refused() {
        let mut objects = Objects::new(Format::Sha1);
        for broken in [&b"PACK"[..], b"JUNK\0\0\0\x02\0\0\0\0", b"PACK\0\0\0\x02\0\0\0\x01\x35junk"] {
            assert!(read(broken, &mut objects).is_err());
        }
    }
}
