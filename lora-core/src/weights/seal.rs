//! The checksum inside a safetensors file: SHA-256 of the whole file, with the digits of the checksum itself as zeros.

use crate::fsutil::hex;
use safetensors::SafeTensors;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The metadata key of the checksum, and what its value begins with.
const KEY: &str = "lora.checksum";
const KIND: &str = "lora-sha256:";
const DIGITS: usize = 64;

/// What to do about a file that was damaged, in the end of the error.
pub(crate) const REMEDY: &str = ". Restore it from a copy, or delete it and run the command that made it again";

/// What the header of a file with metadata begins with.
const METADATA: &str = "{\"__metadata__\":";

/// The metadata with a checksum of zeros, in whose place [`finish`] writes the file's.
pub(super) fn with_room(mut metadata: BTreeMap<String, String>) -> BTreeMap<String, String> {
    metadata.insert(KEY.into(), format!("{KIND}{}", "0".repeat(DIGITS)));
    metadata
}

/// Puts the metadata of a file just written in the order of their keys (the crate writes them in a random one), so that files of
/// equal content are equal, and the checksum in its place, if there is one.
pub(super) fn finish(path: &Path, metadata: &BTreeMap<String, String>) -> io::Result<()> {
    if metadata.is_empty() {
        return Ok(());
    }
    let mut file = File::options().read(true).write(true).open(path)?;
    let mut start = vec![0; 8];
    file.read_exact(&mut start)?;
    let length = header_length(&start).unwrap_or_default();
    let mut header = vec![0; length];
    file.read_exact(&mut header)?;
    let ordered = serde_json::to_vec(metadata)?;
    let there = METADATA.len()..METADATA.len() + ordered.len();
    let place = header.get_mut(there).ok_or_else(foreign)?;
    if serde_json::from_slice::<BTreeMap<String, String>>(place).ok().as_ref() != Some(metadata) {
        return Err(foreign());
    }
    place.copy_from_slice(&ordered);
    if let Some(digits) = marker(&header) {
        let mut hash = Sha256::new_with_prefix(&start);
        hash.update(&header);
        io::copy(&mut file, &mut hash)?;
        header[digits].copy_from_slice(hex(&hash.finalize()).as_bytes());
    }
    file.seek(SeekFrom::Start(start.len() as u64))?;
    file.write_all(&header)
}

fn foreign() -> io::Error {
    io::Error::other("the safetensors crate lays out its header in another way than expected")
}

/// Whether the file, whose bytes these are, has a checksum, which agrees with them.
///
/// # Errors
/// What is wrong with the file.
pub(super) fn verify(file: &[u8]) -> Result<bool, String> {
    let damaged = || format!("does not have the checksum that is written in it: it was damaged or changed{REMEDY}");
    let Some(header) = header_length(file).and_then(|length| file[8..].get(..length)) else {
        return Ok(false);
    };
    let Some(digits) = marker(header) else {
        // A checksum whose name is damaged is not one that is absent.
        let metadata = SafeTensors::read_metadata(file).ok();
        let metadata = metadata.and_then(|(_, m)| m.metadata().clone()).unwrap_or_default();
        let there = metadata
            .iter()
            .any(|(key, value)| key == KEY || value.starts_with(KIND));
        return if there { Err(damaged()) } else { Ok(false) };
    };
    let (from, to) = (8 + digits.start, 8 + digits.end);
    let mut hash = Sha256::new_with_prefix(&file[..from]);
    hash.update([b'0'; DIGITS]);
    hash.update(&file[to..]);
    if hex(&hash.finalize()).as_bytes() == &file[from..to] {
        Ok(true)
    } else {
        Err(damaged())
    }
}

/// The length of the header that begins at byte 8, if the file is long enough to say it.
fn header_length(file: &[u8]) -> Option<usize> {
    usize::try_from(u64::from_le_bytes(*file.first_chunk()?)).ok()
}

/// Where the digits of the checksum are in the header.
fn marker(header: &[u8]) -> Option<std::ops::Range<usize>> {
    let mark = format!("\"{KEY}\":\"{KIND}");
    let at = header.windows(mark.len()).position(|w| w == mark.as_bytes())? + mark.len();
    header.get(at..at + DIGITS)?;
    Some(at..at + DIGITS)
}
