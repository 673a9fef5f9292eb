//! The lines of git's protocol: each with its length in front.

use super::fetch::GitError;

/// One line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packet<'a> {
    Data(&'a [u8]),
    /// `0000`: the end of a message.
    Flush,
    /// `0001`: the end of a section; `0002`: the end of an answer.
    Delimiter,
}

impl<'a> Packet<'a> {
    /// The line as text without its end; none where it is a mark.
    pub fn text(self) -> Option<&'a str> {
        match self {
            Self::Data(data) => std::str::from_utf8(data).ok().map(|text| text.trim_end_matches('\n')),
            Self::Flush | Self::Delimiter => None,
        }
    }
}

/// Reads all lines of an answer.
pub(super) fn read(mut bytes: &[u8]) -> Result<Vec<Packet<'_>>, GitError> {
    let mut packets = Vec::new();
    while !bytes.is_empty() {
        let length = bytes
            .get(..4)
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| usize::from_str_radix(digits, 16).ok())
            .ok_or(GitError::NotGit)?;
        let taken = match length {
            0 => {
                packets.push(Packet::Flush);
                4
            }
            1 | 2 => {
                packets.push(Packet::Delimiter);
                4
            }
            _ => {
                packets.push(Packet::Data(bytes.get(4..length).ok_or(GitError::CutOff)?));
                length
            }
        };
        bytes = &bytes[taken..];
    }
    Ok(packets)
}

/// Writes a request.
#[derive(Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub fn line(mut self, text: &str) -> Self {
        // Lines are far shorter than the longest possible: each holds one name.
        self.0.extend(format!("{:04x}{text}\n", text.len() + 5).into_bytes());
        self
    }

    pub fn flush(mut self) -> Self {
        self.0.extend(b"0000");
        self
    }

    pub fn delimiter(mut self) -> Self {
        self.0.extend(b"0001");
        self
    }

    pub fn bytes(self) -> Vec<u8> {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_answers_does_no_harm(bytes in prop::collection::vec(any::<u8>(), 0..100), text in "[0-9a-f]{0,40}") {
            let _ = read(&bytes);
            let _ = read(text.as_bytes());
        }
    }

    #[test]
    fn what_is_written_is_read_and_what_is_cut_off_is_not() {
        let bytes = Writer::default().line("a b").delimiter().line("").flush().bytes();
        assert_eq!(bytes, b"0008a b\n00010005\n0000");
        let read_back: Vec<Option<&str>> = read(&bytes).unwrap().into_iter().map(Packet::text).collect();
        assert_eq!(read_back, [Some("a b"), None, Some(""), None]);
        assert!(matches!(read(b"<html>"), Err(GitError::NotGit)));
        assert!(matches!(read(b"0009a"), Err(GitError::CutOff)));
        assert!(matches!(read(b"0003"), Err(GitError::CutOff)));
    }
}
