//! Which program is the shim of a local run's steps. It runs in whatever image a step names, so it must need no library.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use super::RunError;

/// A program that can be the shim in any image: the one beside this one, or this one itself, which is a shim when it is
/// called by that name.
///
/// # Errors
/// [`RunError::Dynamic`] when neither is static.
pub(super) fn shim() -> Result<PathBuf, RunError> {
    let this = std::env::current_exe()
        .map_err(|source| RunError::Folder { path: PathBuf::from("/proc/self/exe"), source })?;
    let beside = this.with_file_name("ergon-shim");
    for candidate in [&beside, &this] {
        match is_static(candidate) {
            Ok(true) => return Ok(candidate.clone()),
            Ok(false) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound && *candidate == beside => {}
            Err(source) => return Err(RunError::Folder { path: candidate.clone(), source }),
        }
    }
    let program = this.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Err(RunError::Dynamic { program })
}

/// Where the header of an ELF file says what is where (gABI, 64 bits).
const PROGRAM_HEADERS_AT: usize = 32;
const PROGRAM_HEADER_SIZE_AT: usize = 54;
const PROGRAM_HEADER_COUNT_AT: usize = 56;
const HEADER: usize = 64;
/// The program header that names the interpreter, which is the dynamic linker.
const PT_INTERP: u32 = 3;

/// True unless the program names an interpreter. Files of other kinds than this machine's are not judged.
fn is_static(program: &Path) -> io::Result<bool> {
    let mut file = File::open(program)?;
    let mut header = [0; HEADER];
    match file.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(true),
        read => read?,
    }
    let own_class = cfg!(target_pointer_width = "64") && header.starts_with(b"\x7fELF\x02");
    let own_order = header[5] == if cfg!(target_endian = "little") { 1 } else { 2 };
    if !own_class || !own_order {
        return Ok(true);
    }
    let half = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
    let mut start = [0; 8];
    start.copy_from_slice(&header[PROGRAM_HEADERS_AT..PROGRAM_HEADERS_AT + 8]);
    let start = u64::from_ne_bytes(start);
    for index in 0..u64::from(half(PROGRAM_HEADER_COUNT_AT)) {
        file.seek(SeekFrom::Start(start.saturating_add(index * u64::from(half(PROGRAM_HEADER_SIZE_AT)))))?;
        let mut kind = [0; 4];
        file.read_exact(&mut kind)?;
        if u32::from_ne_bytes(kind) == PT_INTERP {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file of this machine with these program headers.
    fn elf(kinds: &[u32]) -> Vec<u8> {
        let mut file = vec![0; HEADER];
        file[..4].copy_from_slice(b"\x7fELF");
        file[4] = 2;
        file[5] = if cfg!(target_endian = "little") { 1 } else { 2 };
        file[PROGRAM_HEADERS_AT..PROGRAM_HEADERS_AT + 8].copy_from_slice(&64_u64.to_ne_bytes());
        file[PROGRAM_HEADER_SIZE_AT..PROGRAM_HEADER_SIZE_AT + 2].copy_from_slice(&56_u16.to_ne_bytes());
        let count = u16::try_from(kinds.len()).unwrap();
        file[PROGRAM_HEADER_COUNT_AT..PROGRAM_HEADER_COUNT_AT + 2].copy_from_slice(&count.to_ne_bytes());
        for kind in kinds {
            let mut header = [0; 56];
            header[..4].copy_from_slice(&kind.to_ne_bytes());
            file.extend(header);
        }
        file
    }

    #[test]
    fn a_program_with_an_interpreter_is_not_static() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("program");
        // Loadable, dynamic (as a static position-independent program has it too), interpreter.
        let (load, dynamic) = (1, 2);
        let table = [
            (elf(&[load, load]), true),
            (elf(&[load, dynamic]), true),
            (elf(&[load, PT_INTERP, dynamic]), false),
            (elf(&[]), true),
            (b"#!/bin/sh\n".to_vec(), true),
        ];
        for (bytes, expected) in table {
            std::fs::write(&path, &bytes).unwrap();
            assert_eq!(is_static(&path).unwrap(), expected, "{bytes:?}");
        }
    }

    #[test]
    fn this_very_program_is_judged_as_it_was_linked() {
        let this = std::env::current_exe().unwrap();
        assert_eq!(is_static(&this).unwrap(), cfg!(target_feature = "crt-static"));
    }
}
