//! Panics of other people's code as values.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// The message of a panic that [`guarded`] caught.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Panicked(pub String);

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, and turns a panic in it into its message. Nothing is printed.
///
/// For readers of third-party crates that panic on damaged files, and for the operators of tch. Panics of other threads are
/// printed as usual. What `work` changes outside of itself must not be used after a panic.
///
/// # Errors
/// [`Panicked`].
pub fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, Panicked> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let default = take_hook();
        set_hook(Box::new(move |info| {
            if !GUARDED.get() {
                default(info);
            }
        }));
    });
    let before = GUARDED.replace(true);
    let outcome = catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(before);
    outcome.map_err(|payload| Panicked(message(payload.as_ref())))
}

fn message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| payload.downcast_ref::<&str>().copied());
    text.unwrap_or("an unknown panic").to_owned()
}

#[cfg(test)]
mod tests {
    use super::guarded;

    #[test]
    fn panics_become_their_messages_and_values_pass() {
        assert_eq!(guarded(|| 3), Ok(3));
        let index = std::hint::black_box(7);
        let said = guarded(|| [1, 2, 3][index]).unwrap_err().to_string();
        assert!(said.contains("index out of bounds"), "{said}");
        assert_eq!(guarded(|| panic!("plain")).map(|(): ()| 0).unwrap_err().0, "plain");
        let inner = guarded(|| guarded(|| panic!("inner {}", 1)).map(|(): ()| 0).is_err());
        assert_eq!(inner, Ok(true));
    }
}
