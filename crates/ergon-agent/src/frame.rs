//! [`ergon_wire`]'s frames for sockets that do not block.

use std::io;

use ergon_wire::FRAME_LIMIT;
use serde::{Serialize, de::DeserializeOwned};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// Reads one message, or `None` where the other side closed between two messages.
pub(crate) async fn read<T: DeserializeOwned>(
    reader: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    let first = reader.read(&mut length).await?;
    if first == 0 {
        return Ok(None);
    }
    reader.read_exact(&mut length[first..]).await?;
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_LIMIT {
        let problem = format!("a message of {length} bytes is over {FRAME_LIMIT}");
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).await?;
    Ok(serde_json::from_slice(&body).map(Some)?)
}

/// Writes one message.
pub(crate) async fn write<T: Serialize>(
    writer: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> io::Result<()> {
    let mut frame = Vec::new();
    ergon_wire::write_frame(&mut frame, message)?;
    writer.write_all(&frame).await
}

#[cfg(test)]
mod tests {
    use ergon_wire::{Exit, FromShim, ToShim};

    use super::*;

    #[tokio::test]
    async fn both_kinds_of_sockets_speak_the_same() {
        let (mut near, far) = tokio::net::UnixStream::pair().unwrap();
        let mut far = far.into_std().unwrap();
        far.set_nonblocking(false).unwrap();
        let shim = std::thread::spawn(move || {
            ergon_wire::write_frame(&mut far, &FromShim::Hello).unwrap();
            ergon_wire::read_frame::<ToShim>(&mut far).unwrap()
        });
        assert_eq!(read::<FromShim>(&mut near).await.unwrap(), Some(FromShim::Hello));
        let skip = ToShim::Skip { step: Box::default(), exit: Exit::Skipped, company: None };
        write(&mut near, &skip).await.unwrap();
        assert_eq!(shim.join().unwrap(), Some(skip));
        assert_eq!(read::<FromShim>(&mut near).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_cut_or_hostile_message_is_an_error() {
        for (bytes, kind) in [
            (&[1][..], io::ErrorKind::UnexpectedEof),
            (&[9, 0, 0, 0, b'{'], io::ErrorKind::UnexpectedEof),
            (&[255, 255, 255, 255, 0], io::ErrorKind::InvalidData),
            (&[2, 0, 0, 0, b'[', b']'], io::ErrorKind::InvalidData),
        ] {
            let mut bytes = bytes;
            assert_eq!(read::<FromShim>(&mut bytes).await.unwrap_err().kind(), kind);
        }
    }
}
