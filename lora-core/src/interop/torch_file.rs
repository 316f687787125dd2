//! Files of torch.save (`torch/serialization.py`): since torch 1.6 a zip archive with a pickle and one entry of raw
//! data per storage, before that several pickles followed by the data of all storages. The file is memory-mapped, and
//! data is read when its tensor is requested. No code in the file is executed.

use super::pickle::{Dtype, MAX_LEN, Program, Storage, View};
use crate::{Error, Result};
use memmap2::Mmap;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::io::Cursor;
use std::ops::{Deref, Range};
use std::path::Path;
use tch::{Kind, Tensor};
use zip::{CompressionMethod, ZipArchive};

/// The start of a file from before torch 1.6: the pickles of torch's magic number and of the version 1001.
const OLD: &[u8] = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.";

/// The tensors of a dictionary written by torch.save, on the CPU. No code in the file is executed.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] for a damaged file, or one with anything but tensors of known data types.
pub fn read_torch(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    TorchFile::open(path)?.all().map_err(|what| Error::format(path, what))
}

/// A dictionary of tensors written by torch.save. Errors are messages without the path.
pub(crate) struct TorchFile<B = Mmap> {
    bytes: B,
    tensors: BTreeMap<String, Stored>,
    /// Start offsets of the storages whose checksums are verified.
    verified: RefCell<BTreeSet<usize>>,
}

/// The location of a tensor's data.
#[derive(Debug)]
struct Stored {
    kind: Kind,
    /// Of its storage, which tensors may share.
    extent: Extent,
    /// Index of the tensor's first element in its storage.
    offset: i64,
    size: Vec<i64>,
    stride: Vec<i64>,
}

/// A byte range of the file, and its CRC-32 if the file has one.
#[derive(Clone, Debug)]
struct Extent {
    range: Range<usize>,
    crc: Option<u32>,
}

impl TorchFile {
    /// Maps the file and reads its pickle.
    pub(crate) fn open(path: &Path) -> Result<TorchFile> {
        let file = std::fs::File::open(path).map_err(Error::io(path))?;
        // SAFETY: the map is read-only; as with any mapped file, it must not be truncated during a load.
        let map = unsafe { Mmap::map(&file) }.map_err(Error::io(path))?;
        TorchFile::new(map).map_err(|what| Error::format(path, what))
    }
}

impl<B: Deref<Target = [u8]>> TorchFile<B> {
    fn new(bytes: B) -> Result<TorchFile<B>, String> {
        let tensors = if bytes.starts_with(OLD) {
            of_old_file(&bytes)?
        } else {
            of_archive(&bytes)?
        };
        Ok(TorchFile {
            bytes,
            tensors,
            verified: RefCell::default(),
        })
    }

    /// The tensors' names, sorted.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensor of this name, on the CPU in the file's data type. Only its own bytes are copied.
    pub(crate) fn tensor(&self, name: &str) -> Result<Tensor, String> {
        let stored = self
            .tensors
            .get(name)
            .ok_or_else(|| format!("has no tensor `{name}`"))?;
        let (start, storage) = (
            stored.extent.range.start,
            checked(&self.bytes, &stored.extent, &self.verified),
        );
        let storage = storage.map_err(|what| format!("the data of `{name}` {what}"))?;
        self.verified.borrow_mut().insert(start);
        stored.tensor(storage).map_err(|what| format!("`{name}`: {what}"))
    }

    fn all(&self) -> Result<BTreeMap<String, Tensor>, String> {
        self.names()
            .map(|name| Ok((name.to_string(), self.tensor(name)?)))
            .collect()
    }
}

impl<B> fmt::Debug for TorchFile<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TorchFile")
            .field("tensors", &self.tensors)
            .finish_non_exhaustive()
    }
}

impl Stored {
    /// `view` of the storage at `extent`, whose length must match the pickle.
    fn new(view: View, extent: &Extent) -> Result<Stored, String> {
        let kind = kind(view.storage.dtype);
        let wanted = (view.storage.count as u64).checked_mul(kind.elt_size_in_bytes() as u64);
        if wanted != Some(extent.range.len() as u64) {
            return Err(format!(
                "the storage {} has {} bytes, which are not {} elements of {kind:?}",
                view.storage.key,
                extent.range.len(),
                view.storage.count
            ));
        }
        Ok(Stored {
            kind,
            extent: extent.clone(),
            offset: view.offset,
            size: view.size,
            stride: view.stride,
        })
    }

    fn tensor(&self, storage: &[u8]) -> Result<Tensor, String> {
        let torch = |e: tch::TchError| e.to_string();
        if self.size.contains(&0) {
            return Tensor::f_empty(&self.size, (self.kind, tch::Device::Cpu)).map_err(torch);
        }
        // `Machine::view` has checked that the view lies inside its storage.
        let steps = self.size.iter().zip(&self.stride);
        let count = 1 + steps.map(|(size, stride)| (size - 1) * stride).sum::<i64>();
        let width = self.kind.elt_size_in_bytes();
        let range = self.offset as usize * width..(self.offset + count) as usize * width;
        let data = storage.get(range).ok_or("lies outside of its storage")?;
        let flat = Tensor::f_from_data_size(data, &[count], self.kind).map_err(torch)?;
        flat.f_as_strided(&self.size, &self.stride, Some(0)).map_err(torch)
    }
}

/// The bytes of `extent`. Their checksum is verified unless it already was.
fn checked<'b>(bytes: &'b [u8], extent: &Extent, verified: &RefCell<BTreeSet<usize>>) -> Result<&'b [u8], String> {
    let data = bytes.get(extent.range.clone()).ok_or("are not in the file")?;
    match extent.crc {
        Some(crc) if !verified.borrow().contains(&extent.range.start) && crc32fast::hash(data) != crc => {
            Err("are damaged (the checksum does not match); download or copy the file again".into())
        }
        _ => Ok(data),
    }
}

fn of_archive(bytes: &[u8]) -> Result<BTreeMap<String, Stored>, String> {
    let archive = ZipArchive::new(Cursor::new(bytes)).map_err(|e| format!("is not a file of torch.save ({e})"))?;
    let pickles: Vec<String> = archive
        .file_names()
        .filter_map(|name| Some(name.ok()?.into_owned()))
        .filter(|name| name == "data.pkl" || name.ends_with("/data.pkl"))
        .collect();
    let [pickle] = pickles.as_slice() else {
        return Err(format!(
            "is not a file of torch.save: it has {} pickles, not one",
            pickles.len()
        ));
    };
    let root = pickle.trim_end_matches("data.pkl").to_string();
    let mut entries = Entries { bytes, archive, root };
    if entries.has("byteorder") && entries.small("byteorder", 16)? != b"little" {
        return Err("holds big-endian numbers; save it on a little-endian machine".into());
    }
    let program = Program::run(entries.small("data.pkl", MAX_LEN)?)?;
    let mut storages = HashMap::new();
    let mut tensors = BTreeMap::new();
    for (name, view) in program.tensors()? {
        let key = view.storage.key;
        if !storages.contains_key(key) {
            storages.insert(key, (view.storage, entries.extent(&format!("data/{key}"))?));
        }
        let (known, extent) = &storages[key];
        if *known != view.storage {
            return Err(format!("two tensors disagree about the storage {key}"));
        }
        tensors.insert(name.to_string(), Stored::new(view, extent)?);
    }
    Ok(tensors)
}

/// The entries of an archive.
struct Entries<'b> {
    bytes: &'b [u8],
    archive: ZipArchive<Cursor<&'b [u8]>>,
    root: String,
}

impl<'b> Entries<'b> {
    fn has(&self, name: &str) -> bool {
        self.archive.index_for_name(&format!("{}{name}", self.root)).is_some()
    }

    /// The location of an entry.
    fn extent(&mut self, name: &str) -> Result<Extent, String> {
        let name = format!("{}{name}", self.root);
        let fault = |what: String| format!("the entry {name} {what}");
        let entry = self
            .archive
            .by_name_raw(name.as_bytes())
            .map_err(|e| fault(format!("is missing or damaged ({e})")))?;
        // torch never compresses, and compressed data could be far larger than the file.
        if entry.compression() != CompressionMethod::Stored || entry.encrypted() {
            return Err(fault("is compressed, which torch.save never does".into()));
        }
        let (size, start) = (entry.size(), entry.data_start().unwrap_or(u64::MAX));
        let end = start.checked_add(size).filter(|end| *end <= self.bytes.len() as u64);
        let end = end.filter(|_| size == entry.compressed_size());
        let end = end.ok_or_else(|| fault(format!("claims {size} bytes, more than the file has")))?;
        Ok(Extent {
            range: start as usize..end as usize,
            crc: Some(entry.crc32()),
        })
    }

    /// The bytes of an entry, at most `max`.
    fn small(&mut self, name: &str, max: u64) -> Result<&'b [u8], String> {
        let extent = self.extent(name)?;
        if extent.range.len() as u64 > max {
            return Err(format!(
                "the entry {name} has {} bytes; at most {max} are allowed",
                extent.range.len()
            ));
        }
        checked(self.bytes, &extent, &RefCell::default())
            .map_err(|what| format!("the bytes of the entry {name} {what}"))
    }
}

/// Reads a file from before torch 1.6: after [`OLD`] the pickles of the machine's word sizes, of the dictionary, and of
/// the storages' names, then for each storage in that order its number of elements and its data.
fn of_old_file(bytes: &[u8]) -> Result<BTreeMap<String, Stored>, String> {
    let mut at = OLD.len();
    let mut next = || {
        let rest = &bytes[at..bytes.len().min(at + MAX_LEN as usize)];
        let program = Program::run(rest)?;
        at += program.len();
        Ok::<_, String>(program)
    };
    if next()?.boolean("little_endian") != Some(true) {
        return Err("holds big-endian numbers; save it on a little-endian machine".into());
    }
    let (program, order) = (next()?, next()?);
    let views = program.tensors()?;
    let known: HashMap<&str, Storage> = program.storages().map(|storage| (storage.key, storage)).collect();
    let mut storages = HashMap::new();
    for key in order.texts()? {
        let cut = || format!("ends before the storage {key}");
        let head = bytes
            .get(at..)
            .and_then(|rest| rest.first_chunk::<8>())
            .ok_or_else(cut)?;
        let storage = known
            .get(key)
            .ok_or_else(|| format!("no tensor refers to the storage {key}"))?;
        let count = i64::from_le_bytes(*head);
        let length = usize::try_from(count).ok();
        let length = length.and_then(|n| n.checked_mul(kind(storage.dtype).elt_size_in_bytes()));
        let end = length
            .and_then(|n| (at + 8).checked_add(n))
            .filter(|end| *end <= bytes.len());
        let end = end.ok_or_else(cut)?;
        let range = at + 8..end;
        storages.insert(key, Extent { range, crc: None });
        at = end;
    }
    if at != bytes.len() {
        return Err(format!("has {} bytes beyond the last storage", bytes.len() - at));
    }
    let mut tensors = BTreeMap::new();
    for (name, view) in views {
        let key = view.storage.key;
        let extent = storages
            .get(key)
            .ok_or_else(|| format!("the storage {key} is missing"))?;
        if known[key] != view.storage {
            return Err(format!("two tensors disagree about the storage {key}"));
        }
        tensors.insert(name.to_string(), Stored::new(view, extent)?);
    }
    Ok(tensors)
}

fn kind(dtype: Dtype) -> Kind {
    match dtype {
        Dtype::F64 => Kind::Double,
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::I64 => Kind::Int64,
        Dtype::I32 => Kind::Int,
        Dtype::U8 => Kind::Uint8,
        Dtype::Bool => Kind::Bool,
    }
}

#[cfg(test)]
#[path = "tests/torch_file.rs"]
pub(super) mod tests;
