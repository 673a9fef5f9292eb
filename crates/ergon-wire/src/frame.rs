//! Messages on a socket: a length of four bytes, little-endian, then that many bytes of JSON.

use std::io::{self, Read, Write};

use serde::{Serialize, de::DeserializeOwned};

/// The largest message, in bytes: a script or a result beyond it is refused before it is sent.
pub const FRAME_LIMIT: usize = 16 << 20;

/// Writes one message.
///
/// # Errors
/// The writer's, or `InvalidData` where the message is over [`FRAME_LIMIT`].
pub fn write_frame<T: Serialize>(writer: &mut impl Write, message: &T) -> io::Result<()> {
    let body = serde_json::to_vec(message)?;
    let length = u32::try_from(body.len())
        .ok()
        .filter(|_| body.len() <= FRAME_LIMIT)
        .ok_or_else(|| too_long(body.len()))?;
    let mut frame = Vec::with_capacity(body.len() + 4);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&body);
    writer.write_all(&frame)
}

/// Reads one message, or `None` where the other side closed between two messages.
///
/// # Errors
/// The reader's, `UnexpectedEof` inside a message, `InvalidData` where the message is too long or no such JSON.
pub fn read_frame<T: DeserializeOwned>(reader: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let mut filled = 0;
    while filled < length.len() {
        match reader.read(&mut length[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_LIMIT {
        return Err(too_long(length));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    serde_json::from_slice(&body).map(Some).map_err(io::Error::from)
}

fn too_long(length: usize) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("a message of {length} bytes is over {FRAME_LIMIT}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Exit, StopReason, ToShim};

    #[test]
    fn a_message_survives_the_socket_and_the_end_is_seen() {
        let skip = ToShim::Skip { step: Box::default(), exit: Exit::Skipped, company: None };
        let mut buffer = Vec::new();
        write_frame(&mut buffer, &skip).unwrap();
        write_frame(&mut buffer, &ToShim::Stop { reason: StopReason::Cancelled, grace_ms: 5 }).unwrap();
        let mut reader = buffer.as_slice();
        assert_eq!(read_frame(&mut reader).unwrap(), Some(skip));
        assert_eq!(
            read_frame(&mut reader).unwrap(),
            Some(ToShim::Stop { reason: StopReason::Cancelled, grace_ms: 5 })
        );
        assert_eq!(read_frame::<ToShim>(&mut reader).unwrap(), None);
    }

    #[test]
    fn a_hostile_length_costs_nothing() {
        let error = read_frame::<ToShim>(&mut [255, 255, 255, 255, 0].as_slice()).unwrap_err();
        assert_eq!(error.to_string(), "a message of 4294967295 bytes is over 16777216");
        let cut = read_frame::<ToShim>(&mut [9, 0, 0, 0, b'{'].as_slice()).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof);
    }
}
