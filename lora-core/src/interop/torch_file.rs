//! Files of torch.save (since torch 1.6): a zip archive with a pickle and an entry of plain numbers for each storage.

use super::pickle::{self, Dtype, LONGEST, Storage, View};
use crate::{Error, Result};
use std::collections::{BTreeMap, HashMap};
use std::io::{BufReader, Read, Seek};
use std::path::Path;
use tch::{Kind, Tensor};
use zip::{CompressionMethod, ZipArchive};

/// The tensors of a dictionary that torch.save wrote, on the CPU. Nothing that the file says is executed.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] for anything but tensors of known number types, and for what is damaged.
pub fn read_torch(path: &Path) -> Result<BTreeMap<String, Tensor>> {
    let file = std::fs::File::open(path).map_err(Error::io(path))?;
    let len = file.metadata().map_err(Error::io(path))?.len();
    read(BufReader::new(file), len).map_err(|what| Error::format(path, what))
}

/// [`read_torch`] from anything of `len` bytes; what is wrong, in words.
fn read<R: Read + Seek>(source: R, len: u64) -> Result<BTreeMap<String, Tensor>, String> {
    let zip = |e: zip::result::ZipError| {
        format!("is not a file of torch.save ({e}); one from before torch 1.6 must be saved anew by a newer torch")
    };
    let archive = ZipArchive::new(source).map_err(zip)?;
    let pickles: Vec<String> = archive
        .file_names()
        .filter_map(|name| Some(name.ok()?.into_owned()))
        .filter(|name| name == "data.pkl" || name.ends_with("/data.pkl"))
        .collect();
    let [pickle] = pickles.as_slice() else {
        return Err(format!(
            "is no file of torch.save: it has {} pickles, not one",
            pickles.len()
        ));
    };
    let root = pickle.trim_end_matches("data.pkl").to_string();
    let mut entries = Entries { archive, len, root };
    if entries.has("byteorder") && entries.bytes("byteorder", 16)? != b"little" {
        return Err("holds big-endian numbers; save it on a little-endian machine".into());
    }
    let program = entries.bytes("data.pkl", LONGEST)?;
    let mut storages = HashMap::new();
    let mut tensors = BTreeMap::new();
    for (name, view) in pickle::tensors(&program)? {
        if !storages.contains_key(view.storage.key) {
            storages.insert(view.storage.key, (view.storage, entries.storage(&view.storage)?));
        }
        let (known, numbers) = &storages[view.storage.key];
        if *known != view.storage {
            return Err(format!("two tensors disagree about the storage {}", view.storage.key));
        }
        tensors.insert(name.to_string(), tensor(numbers, &view)?);
    }
    Ok(tensors)
}

/// The entries beside the pickle.
struct Entries<R> {
    archive: ZipArchive<R>,
    /// Bytes of the file, which nothing stored in it can exceed.
    len: u64,
    root: String,
}

impl<R: Read + Seek> Entries<R> {
    fn has(&self, name: &str) -> bool {
        self.archive.index_for_name(&format!("{}{name}", self.root)).is_some()
    }

    /// An entry of at most `most` bytes.
    fn bytes(&mut self, name: &str, most: u64) -> Result<Vec<u8>, String> {
        let name = format!("{}{name}", self.root);
        let fault = |what: String| format!("the entry {name} {what}");
        let mut entry = self
            .archive
            .by_name(&name)
            .map_err(|e| fault(format!("is missing or damaged ({e})")))?;
        // torch compresses nothing; what is compressed could be far larger than the file.
        if entry.compression() != CompressionMethod::Stored {
            return Err(fault("is compressed, which torch.save never does".into()));
        }
        let size = entry.size();
        if size > most.min(self.len) {
            return Err(fault(format!(
                "claims {size} bytes; at most {} fit",
                most.min(self.len)
            )));
        }
        let mut bytes = Vec::with_capacity(size as usize);
        let read = entry.by_ref().take(size + 1).read_to_end(&mut bytes);
        read.map_err(|e| fault(format!("is damaged ({e})")))?;
        if bytes.len() as u64 != size {
            return Err(fault(format!("has {} bytes and claims {size}", bytes.len())));
        }
        Ok(bytes)
    }

    fn storage(&mut self, storage: &Storage) -> Result<Tensor, String> {
        let kind = kind(storage.dtype);
        let name = format!("data/{}", storage.key);
        let bytes = self.bytes(&name, u64::MAX)?;
        let wanted = (storage.count as u64).checked_mul(kind.elt_size_in_bytes() as u64);
        if wanted != Some(bytes.len() as u64) {
            return Err(format!(
                "the entry {name} has {} bytes, and {} numbers of {kind:?} were to be in it",
                bytes.len(),
                storage.count
            ));
        }
        Tensor::f_from_data_size(&bytes, &[storage.count], kind).map_err(|e| e.to_string())
    }
}

fn tensor(numbers: &Tensor, view: &View) -> Result<Tensor, String> {
    numbers
        .f_as_strided(&view.size, &view.stride, Some(view.offset))
        .map_err(|e| e.to_string())
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
