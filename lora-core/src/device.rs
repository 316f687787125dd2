//! Which device the tensors live on, and the one place that turns libtorch's panics into errors.

use crate::{Error, Result};
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use tch::Device;

/// Opens `libtorch_cuda.so` where there is one, so that one binary serves CPU and GPU.
///
/// The linker drops the library (no symbol of it is named at link time), and libtorch finds CUDA only if it is loaded.
/// Call it first thing in `main`. Returns whether CUDA can be used.
pub fn open_cuda() -> bool {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Nothing may ask libtorch about CUDA before the library is open: the first answer is kept for good.
        if !cfg!(target_os = "linux") {
            return;
        }
        let driver = std::path::Path::new("/proc/driver/nvidia/version").exists()
            || unsafe { libloading::Library::new("libcuda.so.1") }.is_ok();
        if !driver {
            return;
        }
        // SAFETY: libtorch's own library; its initialisers register kernels and nothing else.
        match unsafe { libloading::Library::new("libtorch_cuda.so") } {
            Ok(library) => std::mem::forget(library),
            Err(reason) => tracing::warn!("an NVIDIA driver is here but libtorch_cuda.so cannot be opened: {reason}"),
        }
    });
    tch::Cuda::is_available()
}

/// Reads `auto`, `cpu`, `cuda` or `cuda:N`.
///
/// # Errors
/// [`Error::Config`] if the word is unknown or that GPU is not there.
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
                "device `{word}` was asked for but {found} CUDA devices can be used here; `lora doctor` says why"
            )))
        }
    }
}

/// The device's name as users write it.
pub fn name(device: Device) -> String {
    match device {
        Device::Cuda(n) => format!("cuda:{n}"),
        Device::Cpu => "cpu".into(),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Waits until the device has done what it was given; nothing to wait for on the CPU.
pub fn synchronize(device: Device) {
    if let Device::Cuda(n) = device {
        tch::Cuda::synchronize(n as i64);
    }
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work` and turns a panic of tch (its operators panic with libtorch's message) into an [`Error`].
///
/// Model code reads far better with tch's infallible operators; a failing one (out of memory, an id beyond the
/// vocabulary) comes out here as one clear message. Other threads' panics and the panic hook are untouched.
pub fn guarded<T>(doing: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                default(info);
            }
        }));
    });
    let before = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    outcome.unwrap_or_else(|payload| {
        let text = payload.downcast_ref::<String>().map(String::as_str);
        let text = text
            .or_else(|| payload.downcast_ref::<&str>().copied())
            .unwrap_or("an unknown panic");
        Err(Error::from_torch_text(doing.to_string(), text))
    })
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
    fn unknown_devices_are_refused() {
        assert!(parse("gpu").is_err_and(|e| e.to_string().contains("known: auto, cpu")));
        assert!(parse("cuda:99").is_err_and(|e| e.to_string().contains("cuda:99")));
        assert_eq!(parse("cpu").ok(), Some(Device::Cpu));
    }
}
