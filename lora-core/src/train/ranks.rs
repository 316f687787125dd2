//! Data parallel training: processes, called ranks, that train one model together.
//!
//! Every rank holds the whole model and computes some rows of each batch. The gradients of the trained variables are summed
//! over the ranks in one flat buffer, after which every rank makes the same update. Losses are weighted by the rows or tokens
//! of the whole batch, and dropout does not depend on the split, so that the loss is that of a single process, except for the
//! order of sums. Evaluation deals whole batches out to the ranks, and is equal to the last digit.

use crate::{Error, Result};
use std::fmt::Debug;
use std::ops::Range;
use tch::{Device, Kind, Tensor};

/// Processes that compute together. Every rank makes the same calls in the same order.
pub trait Ranks: Debug + Sync {
    /// The number of this process, from 0.
    fn rank(&self) -> usize;

    /// The number of processes.
    fn size(&self) -> usize;

    /// Replaces each value by its sum over all ranks. All get the same bits.
    ///
    /// # Errors
    /// [`Error::Ranks`].
    fn all_reduce_sum(&self, values: &mut [f32]) -> Result<()>;

    /// The bytes of every rank, in the order of ranks.
    ///
    /// # Errors
    /// [`Error::Ranks`].
    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>>;

    /// Replaces `bytes` by those of rank 0.
    ///
    /// # Errors
    /// [`Error::Ranks`].
    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<()>;

    /// Ends all ranks at once, because of a failure that the others cannot know of.
    fn abort(&self, why: &str) -> !;
}

/// The only process.
#[derive(Clone, Copy, Debug)]
pub struct Alone;

impl Ranks for Alone {
    fn rank(&self) -> usize {
        0
    }

    fn size(&self) -> usize {
        1
    }

    fn all_reduce_sum(&self, _: &mut [f32]) -> Result<()> {
        Ok(())
    }

    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>> {
        Ok(vec![own.to_vec()])
    }

    fn broadcast(&self, _: &mut Vec<u8>) -> Result<()> {
        Ok(())
    }

    fn abort(&self, why: &str) -> ! {
        eprintln!("error: {why}");
        std::process::exit(1)
    }
}

/// What the ranks send each other in training.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Traffic {
    /// Bytes of a rank's buffer of gradients, which is summed in each step.
    pub bytes_per_step: u64,
    /// Steps.
    pub steps: u64,
    /// Seconds in the sums, including waiting for the slowest rank.
    pub seconds: f64,
}

impl dyn Ranks + '_ {
    /// Whether this is rank 0, which writes files.
    pub fn is_first(&self) -> bool {
        self.rank() == 0
    }

    /// Whether this is the only process.
    pub fn is_alone(&self) -> bool {
        self.size() == 1
    }

    /// This rank's share of `rows` rows, one after the other.
    pub fn share(&self, rows: usize) -> Range<usize> {
        let start = |rank: usize| rank * rows / self.size();
        start(self.rank())..start(self.rank() + 1)
    }

    /// Whether `flag` is true on any rank.
    ///
    /// # Errors
    /// [`Error::Ranks`].
    pub fn any(&self, flag: bool) -> Result<bool> {
        let flags = self.all_gather(&[u8::from(flag)])?;
        Ok(flags.iter().any(|flag| flag == &[1]))
    }

    /// `own`, if it is no error on any rank. Else its error, or [`Error::Ranks`] with that of the first rank that has one.
    ///
    /// # Errors
    /// Those of the ranks.
    pub fn agree<T>(&self, own: Result<T>) -> Result<T> {
        if self.is_alone() {
            return own;
        }
        // A byte marks an error, whose text may be empty.
        let text = own.as_ref().err().map_or(String::new(), |error| format!("!{error}"));
        let all = self.all_gather(text.as_bytes())?;
        let failed = all.iter().enumerate().find(|(_, text)| !text.is_empty());
        match (own, failed) {
            (Ok(_), Some((rank, text))) => {
                let text = String::from_utf8_lossy(text.get(1..).unwrap_or_default());
                Err(Error::Ranks(format!("rank {rank}: {text}")))
            }
            (own, _) => own,
        }
    }

    /// What `compute` returns for each of `0..count`, in order, on every rank. Each is computed by one of them.
    ///
    /// # Errors
    /// Those of `compute` on any rank.
    pub fn deal(&self, count: usize, compute: &mut dyn FnMut(usize) -> Result<Vec<u8>>) -> Result<Vec<Vec<u8>>> {
        if self.is_alone() {
            return (0..count).map(compute).collect();
        }
        let own = (self.rank()..count).step_by(self.size()).map(compute);
        let own = self.agree(own.collect::<Result<Vec<_>>>())?;
        let mut parts = self.all_gather(&packed(&own))?;
        let mut parts: Vec<_> = parts.iter_mut().map(|part| part.as_slice()).collect();
        let of = |i: usize| unpacked(&mut parts[i % self.size()]);
        let all: Option<Vec<_>> = (0..count).map(of).collect();
        all.ok_or_else(|| Error::Ranks("the ranks do not compute the same".into()))
    }

    /// Gives the fp32 `tensors` of every rank the values of rank 0's.
    ///
    /// # Errors
    /// [`Error::Ranks`], and those of libtorch.
    pub fn copy_first(&self, tensors: &[(String, Tensor)]) -> Result<()> {
        let _guard = tch::no_grad_guard();
        for (name, tensor) in tensors {
            let mut bytes = Vec::new();
            if self.is_first() {
                bytes = read(tensor)?.iter().flat_map(|value| value.to_le_bytes()).collect();
            }
            self.broadcast(&mut bytes)?;
            if self.is_first() {
                continue;
            }
            let values = floats(&bytes);
            if values.len() != tensor.numel() {
                return Err(Error::Ranks(format!("`{name}` has another size on rank 0")));
            }
            write(tensor, &values)?;
        }
        Ok(())
    }
}

/// The values of an fp32 tensor on any device.
pub(super) fn read(tensor: &Tensor) -> Result<Vec<f32>> {
    let mut values = vec![0f32; tensor.numel()];
    let flat = tensor.detach().to_device(Device::Cpu).to_kind(Kind::Float).contiguous();
    flat.f_copy_data(&mut values, flat.numel())
        .map_err(Error::torch("reading a tensor"))?;
    Ok(values)
}

/// Copies as many `values` as it has into `tensor`.
pub(super) fn write(tensor: &Tensor, values: &[f32]) -> Result<()> {
    let from = Tensor::f_from_slice(values).and_then(|t| t.f_view(tensor.size().as_slice()));
    let from = from.map_err(Error::torch("writing a tensor"))?;
    tensor.shallow_clone().copy_(&from);
    Ok(())
}

/// The numbers of these bytes.
pub(super) fn floats(bytes: &[u8]) -> Vec<f32> {
    let (numbers, _) = bytes.as_chunks();
    numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Each part behind its length.
fn packed(parts: &[Vec<u8>]) -> Vec<u8> {
    let one = |part: &Vec<u8>| [&(part.len() as u64).to_le_bytes(), part.as_slice()].concat();
    parts.iter().flat_map(one).collect()
}

/// Takes the first part of [`packed`] ones.
fn unpacked(bytes: &mut &[u8]) -> Option<Vec<u8>> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (part, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    *bytes = rest;
    Some(part.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_unpacked_in_order() {
        let parts = vec![vec![1, 2, 3], Vec::new(), vec![4]];
        let bytes = packed(&parts);
        let mut rest = bytes.as_slice();
        let read: Vec<_> = std::iter::from_fn(|| unpacked(&mut rest)).collect();
        assert_eq!(read, parts);
        assert_eq!(unpacked(&mut &bytes[..9]), None);
    }

    #[test]
    fn one_process_does_everything() {
        let alone: &dyn Ranks = &Alone;
        assert_eq!(alone.share(7), 0..7);
        let dealt = alone.deal(3, &mut |i| Ok(vec![i as u8])).unwrap();
        assert_eq!(dealt, [[0], [1], [2]]);
        assert!(alone.any(true).unwrap() && !alone.any(false).unwrap());
        let failed = alone.agree::<()>(Err(Error::Config("no".into())));
        assert!(matches!(failed, Err(Error::Config(_))));
    }
}
