//! Files as torch.save writes them, and damaged ones.

use super::super::pickle::tests::{state_dict, tensor as entry};
use super::*;
use std::io::{Cursor, Write};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

pub(in super::super) fn numbers(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|v| v.to_le_bytes()).collect()
}

/// An uncompressed zip archive of `entries`.
pub(in super::super) fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        zip.start_file(*name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn open(bytes: &[u8]) -> Result<BTreeMap<String, Tensor>, String> {
    TorchFile::new(bytes)?.all()
}

fn sample() -> Vec<u8> {
    let pickle = state_dict(&[
        ("a", entry("0", 6, 0, &[2, 3], &[3, 1])),
        ("turned", entry("0", 6, 0, &[3, 2], &[1, 3])),
        ("b", entry("1", 2, 1, &[1], &[1])),
    ]);
    archive(&[
        ("run/data.pkl", &pickle),
        ("run/byteorder", b"little"),
        ("run/data/0", &numbers(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])),
        ("run/data/1", &numbers(&[7.0, 8.0])),
        ("run/version", b"3\n"),
    ])
}

#[test]
fn views_of_one_storage_are_read() {
    let found = open(&sample()).unwrap();
    let values = |name: &str| Vec::<f32>::try_from(found[name].contiguous().view([-1])).unwrap();
    assert_eq!(values("a"), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(values("turned"), [1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    assert_eq!(values("b"), [8.0]);
}

#[test]
fn missing_and_inconsistent_entries_are_named() {
    let pickle = state_dict(&[("a", entry("0", 2, 0, &[2], &[1]))]);
    let eight = numbers(&[1.0, 2.0]);
    let refused = |entries: &[(&str, &[u8])], what: &str| {
        let message = open(&archive(entries)).unwrap_err();
        assert!(message.contains(what), "{what}: {message}");
    };
    refused(&[("r/data.pkl", &pickle)], "r/data/0 is missing");
    refused(&[("r/data.pkl", &pickle), ("r/data/0", &eight[..4])], "has 4 bytes");
    refused(&[("r/other", b"")], "0 pickles");
    refused(&[("r/data.pkl", &pickle), ("s/data.pkl", &pickle)], "2 pickles");
    refused(
        &[("r/data.pkl", &pickle), ("r/byteorder", b"big"), ("r/data/0", &eight)],
        "big-endian",
    );
    let two = state_dict(&[("a", entry("0", 2, 0, &[2], &[1])), ("b", entry("0", 1, 0, &[1], &[1]))]);
    refused(
        &[("r/data.pkl", &two), ("r/data/0", &eight)],
        "disagree about the storage 0",
    );
}

#[test]
fn a_size_beyond_the_file_is_refused() {
    let mut bytes = sample();
    // The uncompressed size of the first entry, in the central directory: offset 24 of its header.
    let at = bytes.windows(4).position(|w| w == b"PK\x01\x02").unwrap() + 24;
    bytes[at..at + 4].copy_from_slice(&u32::MAX.saturating_sub(1).to_le_bytes());
    let message = open(&bytes).unwrap_err();
    assert!(message.contains("claims") || message.contains("damaged"), "{message}");
}

/// The sample in the format of before torch 1.6.
fn old() -> Vec<u8> {
    let mut pickle = state_dict(&[
        ("a", entry("0", 6, 0, &[2, 3], &[3, 1])),
        ("b", entry("1", 2, 1, &[1], &[1])),
    ]);
    pickle.splice(..0, *b"\x80\x02}(X\x0d\0\0\0little_endian\x88u.");
    let keys = b"\x80\x02](X\x01\0\0\x001X\x01\0\0\x000e.";
    let storage = |values: &[f32]| [&(values.len() as u64).to_le_bytes()[..], &numbers(values)].concat();
    let (first, second) = (storage(&[7.0, 8.0]), storage(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    [OLD, &pickle, keys, &first, &second].concat()
}

#[test]
fn files_from_before_torch_1_6_are_read_and_damaged_ones_refused() {
    let (whole, new) = (old(), open(&sample()).unwrap());
    let found = open(&whole).unwrap();
    assert_eq!(found.keys().collect::<Vec<_>>(), ["a", "b"]);
    for (name, tensor) in &found {
        assert!(tensor.equal(&new[name]), "{name}");
    }
    for end in 0..whole.len() {
        assert!(open(&whole[..end]).is_err(), "cut at {end}");
    }
    assert!(
        open(&[&whole[..], b"x"].concat())
            .unwrap_err()
            .contains("has 1 bytes beyond")
    );
    let turned = |from: &[u8], to: &[u8]| {
        let at = whole.windows(from.len()).position(|w| w == from).unwrap();
        open(&[&whole[..at], to, &whole[at + from.len()..]].concat()).unwrap_err()
    };
    assert!(turned(b"little_endian\x88", b"little_endian\x89").contains("big-endian"));
    let (count, more) = (2_u64.to_le_bytes(), 3_u64.to_le_bytes());
    assert!(turned(&count, &more).contains("ends before the storage 0"));
    for at in 0..whole.len() {
        let mut damaged = whole.clone();
        damaged[at] ^= 0x11;
        let _ = open(&damaged); // the old format has no checksums; reading must only not panic
    }
}

#[test]
fn damaged_archives_neither_panic_nor_load() {
    let whole = sample();
    for end in 0..whole.len() {
        assert!(open(&whole[..end]).is_err(), "cut at {end}");
    }
    for at in 0..whole.len() {
        for bit in 0..8 {
            let mut damaged = whole.clone();
            damaged[at] ^= 1 << bit;
            // Checksums do not cover dates, attributes and names; any damage to data must be detected.
            if let Ok(found) = open(&damaged) {
                for (name, tensor) in &open(&whole).unwrap() {
                    let same = found.get(name).is_none_or(|t| t.equal(tensor));
                    assert!(same, "byte {at}, bit {bit}: {name}");
                }
            }
        }
    }
}
