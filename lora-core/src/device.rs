//! Devices, and [`guarded`], which turns libtorch's panics into errors.

use crate::{Error, Result};
use std::sync::Once;
use tch::Device;

/// Opens `libtorch_cuda.so` if there is one, so that one binary serves CPU and GPU.
///
/// The linker drops the library because no symbol of it is used, and libtorch finds CUDA only if the library is loaded.
/// Must be called first in `main`. Returns whether CUDA can be used.
pub fn open_cuda() -> bool {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // libtorch caches its first answer about CUDA, so nothing may ask before the library is open.
        if !cfg!(target_os = "linux") {
            return;
        }
        let driver = std::path::Path::new("/proc/driver/nvidia/version").exists()
            || unsafe { libloading::Library::new("libcuda.so.1") }.is_ok();
        if !driver {
            return;
        }
        // SAFETY: the initialisers of libtorch's own library only register kernels.
        match unsafe { libloading::Library::new("libtorch_cuda.so") } {
            Ok(library) => std::mem::forget(library),
            Err(reason) => {
                tracing::warn!("an NVIDIA driver is installed but libtorch_cuda.so cannot be opened: {reason}")
            }
        }
    });
    tch::Cuda::is_available()
}

/// Parses `auto`, `cpu`, `cuda` or `cuda:N`.
///
/// # Errors
/// [`Error::Config`] for an unknown word or a GPU that does not exist.
pub fn parse(word: &str) -> Result<Device> {
    let gpus = || if open_cuda() { tch::Cuda::device_count() } else { 0 };
    match word {
        "cpu" => Ok(Device::Cpu),
        "auto" => Ok(if gpus() > 0 { Device::Cuda(0) } else { Device::Cpu }),
        _ => {
            let number = if word == "cuda" {
                Some("0")
            } else {
                word.strip_prefix("cuda:")
            };
            let index = number.and_then(|n| n.parse::<usize>().ok());
            let index = index
                .ok_or_else(|| Error::Config(format!("unknown device `{word}`; known: auto, cpu, cuda, cuda:N")))?;
            let found = gpus();
            if (index as i64) < found {
                return Ok(Device::Cuda(index));
            }
            Err(Error::Config(format!(
                "device `{word}` is not available: {found} CUDA devices can be used; `lora doctor` says why"
            )))
        }
    }
}

/// The device's name in the form that [`parse`] takes.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(n) => format!("cuda:{n}"),
        Device::Cpu => "cpu".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Waits until the device has finished its queued work; returns at once on the CPU.
pub fn synchronize(device: Device) {
    if let Device::Cuda(n) = device {
        tch::Cuda::synchronize(n as i64);
    }
}

/// Runs `work` and turns a panic of tch, whose operators panic with libtorch's message, into an [`Error`].
///
/// Model code can therefore use tch's infallible operators; a failure (out of memory, an id beyond the vocabulary)
/// becomes one clear message. Panics of other threads are reported as usual.
pub fn guarded<T>(doing: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let panicked = |text: support::Panicked| Err(Error::from_torch_text(doing.to_string(), &text.0));
    support::guarded(work).unwrap_or_else(panicked)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Kind, Tensor};

    #[test]
    fn a_failing_operator_becomes_an_error() {
        let result = guarded("multiplying", || {
            let a = Tensor::zeros([2, 3], (Kind::Float, Device::Cpu));
            Ok(a.matmul(&a))
        });
        let text = result.err().map(|e| e.to_string()).unwrap_or_default();
        assert!(
            text.contains("multiplying") && text.contains("shapes cannot be multiplied"),
            "{text}"
        );
        assert!(!text.contains('\n'), "{text}");
    }

    #[test]
    fn unavailable_devices_are_refused() {
        assert!(parse("gpu").is_err_and(|e| e.to_string().contains("known: auto, cpu")));
        assert!(parse("cuda:99").is_err_and(|e| e.to_string().contains("cuda:99")));
        assert_eq!(parse("cpu").ok(), Some(Device::Cpu));
    }
}
