//! Layers and archives as plain bytes, whatever they were packed with: told by their first bytes, not by their label.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Zstandard's frames that carry no content start with one of 16 numbers; layers that can be read in parts have them.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

/// The content of `reader`, decompressed if it is gzip or Zstandard.
pub(crate) fn decompress<'a>(mut reader: impl Read + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut head = [0; 4];
    let mut filled = 0;
    while filled < head.len() {
        match reader.read(&mut head[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    let whole = BufReader::with_capacity(64 << 10, Cursor::new(head).take(filled as u64).chain(reader));
    let head = &head[..filled];
    if head.starts_with(&GZIP) {
        Ok(Box::new(MultiGzDecoder::new(whole)))
    } else if head == ZSTD || (filled == 4 && head[0] & 0xf0 == 0x50 && head[1..] == ZSTD_SKIPPABLE) {
        Ok(Box::new(ZstdFrames { source: whole, decoder: FrameDecoder::new(), inside: false }))
    } else {
        Ok(Box::new(whole))
    }
}

/// Zstandard with any number of frames, as files written in parts have.
struct ZstdFrames<R: BufRead> {
    source: R,
    decoder: FrameDecoder,
    inside: bool,
}

impl<R: BufRead> Read for ZstdFrames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            if self.inside {
                while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                    self.decoder
                        .decode_blocks(&mut self.source, BlockDecodingStrategy::UptoBlocks(1))
                        .map_err(io::Error::other)?;
                }
                match self.decoder.read(buffer)? {
                    0 => self.inside = false,
                    count => return Ok(count),
                }
            }
            if self.source.fill_buf()?.is_empty() {
                return Ok(0);
            }
            match self.decoder.init(&mut self.source) {
                Ok(()) => self.inside = true,
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => skip(&mut self.source, u64::from(length))?,
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

fn skip(source: &mut impl Read, length: u64) -> io::Result<()> {
    let skipped = io::copy(&mut source.take(length), &mut io::sink())?;
    if skipped == length { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};
    use std::io::Write;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn the_first_bytes_tell_the_form() {
        let zstd = |text: &[u8]| compress_to_vec(text, CompressionLevel::Fastest);
        let long = vec![7; 300_000];
        let skippable = [0x53, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3].to_vec();
        for (packed, wanted) in [
            (b"plain".to_vec(), b"plain".to_vec()),
            (Vec::new(), Vec::new()),
            (b"abc".to_vec(), b"abc".to_vec()),
            (gzip(b"once"), b"once".to_vec()),
            ([gzip(b"two "), gzip(b"members")].concat(), b"two members".to_vec()),
            (zstd(&long), long.clone()),
            ([zstd(b"two "), skippable.clone(), zstd(b"frames")].concat(), b"two frames".to_vec()),
            ([skippable, zstd(b"late")].concat(), b"late".to_vec()),
        ] {
            let mut out = Vec::new();
            decompress(&packed[..]).unwrap().read_to_end(&mut out).unwrap();
            assert_eq!(out, wanted);
        }
    }

    #[test]
    fn a_cut_stream_is_an_error() {
        let long: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
        for packed in [gzip(&long), compress_to_vec(&long[..], CompressionLevel::Fastest)] {
            let cut = &packed[..packed.len() / 2];
            let mut out = Vec::new();
            assert!(decompress(cut).unwrap().read_to_end(&mut out).is_err());
        }
    }
}
