//! Reads and writes weights with transformers' names, in one file or in shards with an index. Files are written as
//! safetensors, and read as safetensors or, for models published only as a pickle, from the pickle without executing
//! any of its code.

mod head;
mod seal;
mod stored_head;

pub use crate::load_report::LoadReport;
pub(crate) use seal::REMEDY;
pub use stored_head::StoredHead;

use crate::fsutil::sha256_file;
use crate::interop::TorchFile;
use crate::model::Arch;
use crate::nn::{Owner, Params, assign, check_finite, copy};
use crate::{Error, Result};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, View};
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use tch::{Device, Kind, Tensor};

impl LoadReport {
    /// The report, if all base variables were loaded and no tensor was unexpected or mismatched.
    ///
    /// # Errors
    /// [`Error::Load`] otherwise.
    pub fn require_complete(self) -> Result<LoadReport> {
        if self.missing.is_empty() && self.unexpected.is_empty() && self.mismatched.is_empty() {
            Ok(self)
        } else {
            Err(Error::Load(Box::new(self)))
        }
    }
}

/// One or more memory-mapped files.
#[derive(Debug)]
pub struct Weights {
    path: PathBuf,
    files: Vec<(PathBuf, WeightsFile)>,
    /// Tensor name to the index of its file.
    index: BTreeMap<String, usize>,
}

/// A file, by format.
#[derive(Debug)]
enum WeightsFile {
    Safetensors {
        map: Mmap,
        /// Data types, shapes and places of the tensors, from `start` on.
        header: Metadata,
        start: usize,
        sealed: bool,
    },
    Torch(TorchFile),
}

/// File names of a model's weights, preferred format first: a single file, and the index of shards.
const NAMES: [[&str; 2]; 2] = [
    ["model.safetensors", "model.safetensors.index.json"],
    ["pytorch_model.bin", "pytorch_model.bin.index.json"],
];

impl Weights {
    /// Opens a file of safetensors (a checksum of [`save_sealed`] is compared first) or (with the extension `.bin`, `.pt` or `.pth`) of torch.save, or a folder with
    /// `model.safetensors` or else `pytorch_model.bin`, each a single file or shards with an index.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for a truncated or corrupt file, or another format.
    pub fn open(path: &Path) -> Result<Weights> {
        if path.is_file() {
            return Weights::of_files(path, vec![path.to_path_buf()]);
        }
        for [single, index] in NAMES.map(|names| names.map(|name| path.join(name))) {
            if single.is_file() {
                return Weights::of_files(&single, vec![single.clone()]);
            }
            if index.is_file() {
                return Weights::of_files(&index, shards(path, &index)?);
            }
        }
        let [[single, index], [pickle, _]] = NAMES;
        Err(Error::format(
            path,
            format!("has neither {single} nor {index}, and no {pickle}"),
        ))
    }

    /// Whether every file has a checksum of [`save_sealed`], with which its bytes agree.
    pub fn is_sealed(&self) -> bool {
        let sealed = |file: &WeightsFile| matches!(file, WeightsFile::Safetensors { sealed: true, .. });
        self.files.iter().all(|(_, file)| sealed(file))
    }

    fn of_files(path: &Path, paths: Vec<PathBuf>) -> Result<Weights> {
        let mut files = Vec::new();
        let mut index = BTreeMap::new();
        for (number, file) in paths.into_iter().enumerate() {
            let weights = WeightsFile::open(&file)?;
            for name in weights.names() {
                if index.insert(name.clone(), number).is_some() {
                    return Err(Error::format(
                        &file,
                        format!("tensor `{name}` is also in another shard"),
                    ));
                }
            }
            files.push((file, weights));
        }
        Ok(Weights {
            path: path.to_path_buf(),
            files,
            index,
        })
    }

    /// The files.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.files.iter().map(|(path, _)| path.as_path())
    }

    /// The tensors' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.index.keys().map(String::as_str)
    }

    /// The metadata that [`save`] wrote, of the first file.
    ///
    /// # Errors
    /// [`Error::Format`].
    pub fn metadata(&self) -> Result<HashMap<String, String>> {
        let Some((_, WeightsFile::Safetensors { header, .. })) = self.files.first() else {
            return Ok(HashMap::new());
        };
        Ok(header.metadata().clone().unwrap_or_default())
    }

    /// SHA-256 of the files' digests, which identifies the weights in a run's record.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn sha256(&self) -> Result<String> {
        let mut hash = Sha256::new();
        if let [(only, _)] = self.files.as_slice() {
            return sha256_file(only);
        }
        for (file, _) in &self.files {
            hash.update(sha256_file(file)?);
        }
        Ok(crate::fsutil::hex(&hash.finalize()))
    }

    /// The tensor of this name, on the CPU in the file's data type.
    ///
    /// # Errors
    /// [`Error::Format`] if it does not exist or has an unsupported data type.
    pub fn tensor(&self, name: &str) -> Result<Tensor> {
        let (file, weights) = self.file_of(name)?;
        match weights.stored(file, name)? {
            Some(stored) => {
                let tensor = Tensor::f_from_data_size(stored.bytes, &stored.size, stored.kind);
                tensor.map_err(Error::torch(format!("reading `{name}`")))
            }
            None => weights.unpickled(file, name),
        }
    }

    /// What `read` makes of the tensor of this name, which lies in the file's memory and ends with the call. Those pages of the
    /// file are then given back, so that a load holds the weights once.
    fn lend<T>(&self, name: &str, read: impl FnOnce(&Tensor) -> Result<T>) -> Result<T> {
        let (file, weights) = self.file_of(name)?;
        let lent = match weights.stored(file, name)? {
            Some(stored) => stored.lent().map_err(Error::torch(format!("reading `{name}`")))?,
            None => None,
        };
        let Some(lent) = lent else {
            return read(&self.tensor(name)?);
        };
        let made = read(&lent);
        weights.give_back(name);
        made
    }

    fn file_of(&self, name: &str) -> Result<(&Path, &WeightsFile)> {
        let number = self.index.get(name);
        let number = number.ok_or_else(|| Error::format(&self.path, format!("has no tensor `{name}`")))?;
        let (file, weights) = &self.files[*number];
        Ok((file, weights))
    }

    /// Copies every tensor into the variable of its name (with or without the architecture's prefix). Data types are
    /// converted, shapes never. Missing, unexpected and mismatched tensors are in the report.
    ///
    /// # Errors
    /// Those of [`Weights::tensor`]; [`Error::Format`] for a tensor with NaN or infinity.
    pub fn load_into(&self, params: &Params, arch: &Arch) -> Result<LoadReport> {
        self.load_with(params, arch, &StoredHead::AsStored)
    }

    /// [`Weights::load_into`] with the classifier loaded as `head` states.
    ///
    /// # Errors
    /// Those of [`Weights::load_into`].
    pub fn load_with(&self, params: &Params, arch: &Arch, head: &StoredHead) -> Result<LoadReport> {
        let mut report = LoadReport {
            path: self.path.clone(),
            ..LoadReport::default()
        };
        let mut filled = BTreeSet::new();
        for name in self.names() {
            let target = [name.to_string(), format!("{}{name}", arch.prefix)]
                .into_iter()
                .map(|n| modern_norm_name(&n))
                .find(|n| params.get(n).is_some());
            match target {
                Some(target) if *head == StoredHead::Fresh && arch.is_of_classifier(&target) => {}
                Some(target) => {
                    self.lend(name, |stored| {
                        let tensor = head.rows(transposed(stored, &target, arch), &target, arch);
                        self.fill(params, (stored, &tensor), &target, &mut report)
                    })?;
                    filled.insert(target);
                }
                None if is_ignored(name, arch) => {}
                None => report.unexpected.push(name.to_string()),
            }
        }
        for entry in params.iter().filter(|e| !filled.contains(&e.param.name)) {
            match entry.param.owner {
                Owner::Base => report.missing.push(entry.param.name.clone()),
                Owner::Head => report.fresh_head.push(entry.param.name.clone()),
                Owner::Method => {}
            }
        }
        if report.missing.is_empty() && report.mismatched.is_empty() {
            params.start()?;
        }
        Ok(report)
    }

    /// Loads the trained variables of `params` from a file of [`crate::train::BestCheckpoint`], possibly of another
    /// task. A variable of the head with another shape in the file (the last layer of a task with another number of
    /// classes) keeps its initial values. Returns the number of loaded variables.
    ///
    /// # Errors
    /// [`Error::Format`] if a variable is missing, or has another shape and does not belong to the head.
    pub fn load_trained(&self, params: &Params) -> Result<usize> {
        let mut taken = 0;
        for entry in params.trainable() {
            let name = &entry.param.name;
            if entry.param.train_only && !self.index.contains_key(name) {
                return Err(Error::format(
                    &self.path,
                    format!(
                        "has no tensor `{name}`: train-only variables are not saved; load the file with a method without them (mlp: null)"
                    ),
                ));
            }
            self.lend(name, |tensor| {
                if entry.param.owner == Owner::Head && tensor.size() != entry.tensor.size() {
                    return Ok(());
                }
                taken += 1;
                copy(tensor, &entry.tensor, name).map_err(|e| self.at(e))
            })?;
        }
        Ok(taken)
    }

    /// Adds the file's path to an error about its content.
    fn at(&self, error: Error) -> Error {
        match error {
            Error::Config(what) => Error::format(&self.path, what),
            other => other,
        }
    }

    /// Fills the variable `target` with `tensor`, whose values are those of `stored`.
    fn fill(
        &self,
        params: &Params,
        (stored, tensor): (&Tensor, &Tensor),
        target: &str,
        report: &mut LoadReport,
    ) -> Result<()> {
        let Some(entry) = params.get(target) else { return Ok(()) };
        if tensor.size() != entry.tensor.size() {
            report
                .mismatched
                .push((target.to_string(), tensor.size(), entry.tensor.size()));
            return Ok(());
        }
        // The file's own order is read faster than a transposed one.
        check_finite(target, stored).map_err(|e| self.at(e))?;
        assign(tensor, &entry.tensor, target)?;
        report.loaded += 1;
        Ok(())
    }
}

impl WeightsFile {
    fn open(file: &Path) -> Result<WeightsFile> {
        let ending = file.extension().and_then(OsStr::to_str);
        if ending.is_some_and(|e| ["bin", "pt", "pth"].contains(&e)) {
            return Ok(WeightsFile::Torch(TorchFile::open(file)?));
        }
        let handle = std::fs::File::open(file).map_err(Error::io(file))?;
        // SAFETY: the map is read-only; as with any mapped file, it must not be truncated during a load.
        let map = unsafe { Mmap::map(&handle) }.map_err(Error::io(file))?;
        let whole = |e| {
            let what = format!("is not a whole safetensors file ({e}); download or copy it again");
            Error::format(file, what)
        };
        SafeTensors::deserialize(&map).map_err(whole)?;
        let (length, header) = SafeTensors::read_metadata(&map).map_err(whole)?;
        let sealed = seal::verify(&map).map_err(|what| Error::format(file, what))?;
        // Eight bytes state the header's length.
        let start = 8 + length;
        Ok(WeightsFile::Safetensors {
            map,
            header,
            start,
            sealed,
        })
    }

    fn names(&self) -> Vec<String> {
        match self {
            WeightsFile::Safetensors { header, .. } => header.offset_keys(),
            WeightsFile::Torch(torch) => torch.names().map(String::from).collect(),
        }
    }

    /// The place of a tensor of a safetensors file; none in a file of torch.save.
    fn stored(&self, file: &Path, name: &str) -> Result<Option<Stored<'_>>> {
        let WeightsFile::Safetensors { map, header, start, .. } = self else {
            return Ok(None);
        };
        let info = header.info(name);
        let bytes = info.and_then(|i| map.get(start + i.data_offsets.0..start + i.data_offsets.1));
        let (Some(info), Some(bytes)) = (info, bytes) else {
            return Err(Error::format(file, format!("has no tensor `{name}`")));
        };
        Ok(Some(Stored {
            bytes,
            size: info.shape.iter().map(|n| *n as i64).collect(),
            kind: kind(info.dtype).ok_or_else(|| {
                let what = format!("tensor `{name}` is {:?}; models use F32, F16, BF16", info.dtype);
                Error::format(file, what)
            })?,
        }))
    }

    fn unpickled(&self, file: &Path, name: &str) -> Result<Tensor> {
        match self {
            WeightsFile::Torch(torch) => torch.tensor(name).map_err(|what| Error::format(file, what)),
            WeightsFile::Safetensors { .. } => Err(Error::format(file, format!("has no tensor `{name}`"))),
        }
    }

    /// Gives the pages of a tensor back to the system, which reads them again from the file where they are needed.
    fn give_back(&self, name: &str) {
        #[cfg(unix)]
        if let WeightsFile::Safetensors { map, header, start, .. } = self
            && let Some(info) = header.info(name)
        {
            let (from, to) = info.data_offsets;
            // SAFETY: the map is a file's and read-only, so that its pages come back as they were. A refusal changes nothing.
            let _ = unsafe { map.unchecked_advise_range(memmap2::UncheckedAdvice::DontNeed, start + from, to - from) };
        }
    }
}

/// A tensor in the memory of a file.
struct Stored<'a> {
    bytes: &'a [u8],
    size: Vec<i64>,
    kind: Kind,
}

impl Stored<'_> {
    /// The tensor over the file's own memory, which must outlive it; none where the memory is not aligned for its kind.
    fn lent(&self) -> std::result::Result<Option<Tensor>, tch::TchError> {
        let width = self.kind.elt_size_in_bytes();
        if self.bytes.as_ptr().align_offset(width) != 0 || self.bytes.is_empty() {
            return Ok(None);
        }
        let mut strides = vec![1; self.size.len()];
        for i in (1..self.size.len()).rev() {
            strides[i - 1] = strides[i] * self.size[i];
        }
        // SAFETY: the header was checked against the file, so that the bytes are the elements; `lend` drops the tensor first, and
        // nothing writes to it.
        let tensor = unsafe { Tensor::f_from_blob(self.bytes.as_ptr(), &self.size, &strides, self.kind, Device::Cpu) };
        tensor.map(Some)
    }
}

/// Converts between the layout of published files and that of this crate: transposes `[in, out]` matrices.
fn transposed(tensor: &Tensor, name: &str, arch: &Arch) -> Tensor {
    if tensor.dim() == 2 && arch.transposed.iter().any(|end| name.ends_with(end)) {
        tensor.tr()
    } else {
        tensor.shallow_clone()
    }
}

/// The variables of base and head with transformers' names and layout, to [`save`] for other libraries.
pub fn published(params: &Params, arch: &Arch) -> Vec<(String, Tensor)> {
    let ours = params.iter().filter(|e| e.param.owner != Owner::Method);
    ours.map(|e| {
        let name = e.param.name.clone();
        let tensor = transposed(&e.tensor.detach(), &name, arch);
        (name, tensor)
    })
    .collect()
}

/// Replaces the names of 2018, gamma and beta.
fn modern_norm_name(name: &str) -> String {
    name.replace("LayerNorm.gamma", "LayerNorm.weight")
        .replace("LayerNorm.beta", "LayerNorm.bias")
}

fn is_ignored(name: &str, arch: &Arch) -> bool {
    let bare = name.strip_prefix(arch.prefix).unwrap_or(name);
    arch.ignored
        .iter()
        .any(|i| bare.starts_with(i) || i.starts_with('.') && bare.ends_with(i))
}

fn shards(dir: &Path, index: &Path) -> Result<Vec<PathBuf>> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: HashMap<String, String>,
    }
    let text = std::fs::read_to_string(index).map_err(Error::io(index))?;
    let parsed: Index =
        serde_json::from_str(&text).map_err(|e| Error::format(index, format!("not a shard index: {e}")))?;
    let names: BTreeSet<&String> = parsed.weight_map.values().collect();
    names
        .into_iter()
        .map(|name| match Path::new(name).file_name() {
            Some(plain) if plain == name.as_str() => Ok(dir.join(plain)),
            _ => Err(Error::format(index, format!("shard `{name}` is not a plain file name"))),
        })
        .collect()
}

/// libtorch's kind; none for data types that models do not use.
fn kind(dtype: Dtype) -> Option<Kind> {
    Some(match dtype {
        Dtype::F64 => Kind::Double,
        Dtype::F32 => Kind::Float,
        Dtype::F16 => Kind::Half,
        Dtype::BF16 => Kind::BFloat16,
        Dtype::I64 => Kind::Int64,
        _ => return None,
    })
}

/// Data types of saved weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// fp32, lossless.
    Full,
    /// fp16, half the size.
    Half,
}

/// Writes `tensors` in fp32 and `metadata` to one safetensors file, atomically.
///
/// # Errors
/// [`Error::Io`], in which case an old file remains; [`Error::Torch`].
pub fn save(path: &Path, tensors: &[(String, Tensor)], metadata: HashMap<String, String>) -> Result<()> {
    save_as(path, tensors, metadata, Precision::Full)
}

/// [`save`] with a checksum over the whole file in its metadata, which [`Weights::open`] compares with the file. Files of equal
/// content are equal, byte for byte.
///
/// # Errors
/// Those of [`save`].
pub fn save_sealed(path: &Path, tensors: &[(String, Tensor)], metadata: HashMap<String, String>) -> Result<()> {
    write(
        path,
        tensors,
        seal::with_room(metadata.into_iter().collect()),
        Precision::Full,
    )
}

/// [`save`] in the data type `precision`.
///
/// # Errors
/// Those of [`save`]; [`Error::Config`] for a tensor with NaN or infinity in that data type.
pub fn save_as(
    path: &Path,
    tensors: &[(String, Tensor)],
    metadata: HashMap<String, String>,
    precision: Precision,
) -> Result<()> {
    write(path, tensors, metadata.into_iter().collect(), precision)
}

fn write(
    path: &Path,
    tensors: &[(String, Tensor)],
    metadata: BTreeMap<String, String>,
    precision: Precision,
) -> Result<()> {
    let plain = tensors
        .iter()
        .map(|(name, t)| Ok((name, Plain::new(name, t, precision)?)))
        .collect::<Result<Vec<_>>>()?;
    support::write_atomic_with(path, |temp| {
        let written = safetensors::serialize_to_file(plain, Some(metadata.clone().into_iter().collect()), temp);
        written.map_err(|e| match e {
            safetensors::SafeTensorError::IoError(e) => e,
            other => std::io::Error::other(other),
        })?;
        seal::finish(temp, &metadata)
    })?;
    Ok(())
}

/// A tensor prepared for a file: contiguous and on the CPU, copied only if needed.
struct Plain {
    tensor: Tensor,
    precision: Precision,
    shape: Vec<usize>,
}

impl Plain {
    fn new(name: &str, tensor: &Tensor, precision: Precision) -> Result<Plain> {
        let kind = match precision {
            Precision::Full => Kind::Float,
            Precision::Half => Kind::Half,
        };
        let plain = tensor
            .detach()
            .f_to_device(tch::Device::Cpu)
            .and_then(|t| t.f_to_kind(kind));
        let tensor = plain
            .and_then(|t| t.f_contiguous())
            .map_err(Error::torch(format!("saving `{name}`")))?;
        check_finite(name, &tensor)?;
        let shape = tensor.size().iter().map(|n| *n as usize).collect();
        Ok(Plain {
            tensor,
            precision,
            shape,
        })
    }
}

impl View for Plain {
    fn dtype(&self) -> Dtype {
        match self.precision {
            Precision::Full => Dtype::F32,
            Precision::Half => Dtype::F16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        // SAFETY: the tensor is contiguous, on the CPU and of `dtype` (see `new`), lives as long as `self`, and is not
        // modified.
        Cow::Borrowed(unsafe { std::slice::from_raw_parts(self.tensor.data_ptr().cast::<u8>(), self.data_len()) })
    }

    fn data_len(&self) -> usize {
        let width = match self.precision {
            Precision::Full => 4,
            Precision::Half => 2,
        };
        self.tensor.numel() * width
    }
}
