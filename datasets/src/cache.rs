//! Cache of tokenised splits on disk.
//!
//! A file is used only if it is complete and was written for the same tokenizer, texts and length; otherwise it is replaced. A
//! cache that cannot be written is logged and the run continues.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Version of file layout and tokenisation; files of other versions are ignored.
const VERSION: u8 = 1;
const MAGIC: &[u8; 8] = b"LORATOK\x01";
const DIGEST: usize = 32;

/// Ids and type ids of one text.
pub(crate) type CachedIds = (Vec<u32>, Vec<u32>);

/// Digest of the inputs of a cached file.
pub(crate) struct CacheKey([u8; DIGEST]);

impl CacheKey {
    /// From the tokenizer's digest, the truncation length and all texts in order.
    pub fn new<'a>(tokenizer: &str, max_len: usize, texts: impl Iterator<Item = (&'a str, Option<&'a str>)>) -> Self {
        let mut digest = Sha256::new();
        let mut add = |text: &str| {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        };
        add(&format!("{VERSION} {tokenizer} {max_len}"));
        for (first, second) in texts {
            add(first);
            // A single sentence differs from a pair with an empty second one.
            add(if second.is_some() { "pair" } else { "single" });
            add(second.unwrap_or_default());
        }
        Self(digest.finalize().into())
    }

    fn file_name(&self) -> String {
        let hex: String = self.0.iter().map(|b| format!("{b:02x}")).collect();
        format!("{hex}.tok")
    }
}

/// The user's cache: `$LORA_CACHE`, else `$XDG_CACHE_HOME/lora`, else `~/.cache/lora`. None where none of these is set.
pub fn user_folder() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(expand_home);
    set("LORA_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|d| d.join("lora")))
        .or_else(|| set("HOME").map(|d| d.join(".cache").join("lora")))
}

/// A path from an environment variable, with a leading `~` expanded to the user's home.
pub fn expand_home(path: impl Into<PathBuf>) -> PathBuf {
    in_home(path.into(), std::env::home_dir().as_deref())
}

/// The path with a leading `~` replaced by `home`, as Python's `expanduser` does it.
pub(crate) fn in_home(path: PathBuf, home: Option<&Path>) -> PathBuf {
    match (path.strip_prefix("~"), home) {
        (Ok(rest), Some(home)) => home.join(rest),
        _ => path,
    }
}

/// A folder of tokenised splits.
#[derive(Debug, Clone)]
pub struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// A cache in that folder, which is created by the first write.
    pub fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// The folder `tokens` of the user's cache ([`user_folder`]); none where there is none.
    pub fn of_user() -> Option<Self> {
        Some(Self::at(user_folder()?.join("tokens")))
    }

    /// Where the files lie.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The rows stored under the key, if the file is whole and has that many.
    pub(crate) fn get(&self, key: &CacheKey, rows: usize) -> Option<Vec<CachedIds>> {
        let path = self.dir.join(key.file_name());
        let bytes = std::fs::read(&path).ok()?;
        let found = decode(&bytes, key, rows);
        if found.is_none() {
            tracing::warn!(
                "{}: not a whole cache file of this version; tokenising anew",
                path.display()
            );
        }
        found
    }

    /// Stores rows; a failure is logged.
    pub(crate) fn put(&self, key: &CacheKey, rows: &[CachedIds]) {
        let Some(bytes) = encode(key, rows) else { return };
        if let Err(e) = support::write_atomic(self.dir.join(key.file_name()), &bytes) {
            tracing::warn!("tokenised data could not be cached: {e}: {}", e.source);
        }
    }
}

/// Layout: magic, key, number of rows (u64), then a row: length (u32), ids (u32 each), type ids (one byte each); at the
/// end SHA-256 of all before. Little-endian. None if a number is too large for its place.
fn encode(key: &CacheKey, rows: &[CachedIds]) -> Option<Vec<u8>> {
    let tokens: usize = rows.iter().map(|(ids, _)| ids.len()).sum();
    let mut bytes = Vec::with_capacity(MAGIC.len() + 2 * DIGEST + 8 + rows.len() * 4 + tokens * 5);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&key.0);
    bytes.extend_from_slice(&(rows.len() as u64).to_le_bytes());
    for (ids, type_ids) in rows {
        bytes.extend_from_slice(&u32::try_from(ids.len()).ok()?.to_le_bytes());
        ids.iter().for_each(|id| bytes.extend_from_slice(&id.to_le_bytes()));
        for &id in type_ids {
            bytes.push(u8::try_from(id).ok()?);
        }
    }
    let digest = Sha256::digest(&bytes);
    bytes.extend_from_slice(&digest);
    Some(bytes)
}

fn decode(bytes: &[u8], key: &CacheKey, rows: usize) -> Option<Vec<CachedIds>> {
    let (body, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
    if Sha256::digest(body)[..] != *digest {
        return None;
    }
    let body = body.strip_prefix(MAGIC)?.strip_prefix(&key.0)?;
    let (count, mut rest) = body.split_first_chunk::<8>()?;
    if u64::from_le_bytes(*count) != rows as u64 {
        return None;
    }
    let mut found = Vec::with_capacity(rows);
    for _ in 0..rows {
        let (len, after) = rest.split_first_chunk::<4>()?;
        let len = u32::from_le_bytes(*len) as usize;
        let (ids, after) = after.split_at_checked(len.checked_mul(4)?)?;
        let (type_ids, after) = after.split_at_checked(len)?;
        let ids = ids
            .chunks_exact(4)
            .map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect();
        found.push((ids, type_ids.iter().map(|&b| u32::from(b)).collect()));
        rest = after;
    }
    rest.is_empty().then_some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> CacheKey {
        CacheKey::new("tokenizer", 8, [(text, None)].into_iter())
    }

    fn rows() -> Vec<CachedIds> {
        vec![(vec![0, 70_000, 2], vec![0, 0, 1]), (vec![], vec![])]
    }

    #[test]
    fn comes_back_as_stored() {
        let bytes = encode(&key("a"), &rows()).unwrap();
        assert_eq!(decode(&bytes, &key("a"), 2), Some(rows()));
        assert_eq!(decode(&bytes, &key("a"), 3), None);
        assert_eq!(decode(&bytes, &key("b"), 2), None);
    }

    #[test]
    fn no_cut_and_no_flipped_byte_is_taken() {
        let bytes = encode(&key("a"), &rows()).unwrap();
        for at in 0..bytes.len() {
            assert_eq!(decode(&bytes[..at], &key("a"), 2), None, "cut at {at}");
            let mut flipped = bytes.clone();
            flipped[at] ^= 1;
            assert_eq!(decode(&flipped, &key("a"), 2), None, "flipped at {at}");
        }
    }

    /// Lengths beyond the file's end are refused, even if the digest is right.
    #[test]
    fn lying_lengths_are_refused() {
        let mut body = encode(&key("a"), &rows()).unwrap();
        body.truncate(body.len() - DIGEST);
        let first_len = MAGIC.len() + DIGEST + 8;
        body[first_len..first_len + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let digest = Sha256::digest(&body);
        body.extend_from_slice(&digest);
        assert_eq!(decode(&body, &key("a"), 2), None);
    }

    #[test]
    fn keys_tell_all_inputs_apart() {
        let of = |tokenizer, max_len, first, second| CacheKey::new(tokenizer, max_len, [(first, second)].into_iter()).0;
        let base = of("t", 8, "ab", None);
        for other in [
            of("u", 8, "ab", None),
            of("t", 9, "ab", None),
            of("t", 8, "a", Some("b")),
            of("t", 8, "ab", Some("")),
        ] {
            assert_ne!(base, other);
        }
    }
}
