//! Compares the head in a base's file with that of an adapter, and names the outputs of the adapter's head.

use super::stored::{AdapterInfo, BaseModel};
use anyhow::{Context, Result, ensure};
use datasets::GlueTask;
use lora_core::interop::Tensors;
use lora_core::model::{label_names, rows_of};
use lora_core::weights::Weights;

/// The two heads: the number of outputs of each, where there is one, and the names of the base's outputs.
struct Heads {
    base: Option<i64>,
    adapter: Option<i64>,
    names: Option<Vec<String>>,
}

impl Heads {
    fn of(found: &BaseModel, trained: &Tensors) -> Result<Heads> {
        let arch = found.base.arch;
        let own = arch
            .output_weight()
            .and_then(|name| trained.get(&name)?.size().first().copied());
        let base = Weights::open(&found.base.dir)?.outputs(arch)?;
        Ok(Heads {
            base,
            adapter: own,
            names: base.map(|_| label_names(&found.base.config)).transpose()?.flatten(),
        })
    }
}

/// Refuses a base with the head of another task than the adapter's, by the number of its outputs or their names, unless the
/// adapter was trained with a `fresh_head` in that head's place.
///
/// # Errors
/// The difference between the heads, and the flag to give.
pub fn check(found: &BaseModel, about: &AdapterInfo, trained: &Tensors) -> Result<()> {
    let heads = Heads::of(found, trained)?;
    let (Some(base), Some(own)) = (heads.base, heads.adapter) else {
        return Ok(());
    };
    if about.fresh_head {
        return Ok(());
    }
    let named = |names: &[String]| match names {
        [] => String::new(),
        names => format!(" ({})", names.join(", ")),
    };
    let names = heads.names.as_deref().unwrap_or_default();
    let classes: Vec<&str> = about.labels.iter().map(String::as_str).collect();
    let same = names.is_empty() || classes.is_empty() || rows_of(names, &classes).is_some();
    ensure!(
        base == own && same,
        "the head of {} has {base} outputs{} and the adapter's {own}{}: the base was fine-tuned on another task, so it may not be the one that \
         the adapter was trained beside. If it is, and the adapter's head was a fresh one, say so with --fresh-head",
        found.base.dir.display(),
        named(names),
        named(&about.labels)
    );
    Ok(())
}

/// The names of the outputs of a foreign adapter's head, or of the base's where the adapter has none: those that the base gives
/// them, in its order; else the classes of `task`, which the head must have as many outputs for.
///
/// # Errors
/// A head of another task.
pub fn labels(found: &BaseModel, trained: &Tensors, task: Option<&GlueTask>, fresh: bool) -> Result<Vec<String>> {
    let heads = Heads::of(found, trained)?;
    let classes = task.map(super::stored::labels).unwrap_or_default();
    let outputs = heads.adapter.or(heads.base);
    if let Some(task) = task {
        let outputs = outputs.unwrap_or(0);
        ensure!(
            task.outputs() as i64 == outputs,
            "the adapter's head has {outputs} outputs, and {} has {}",
            task.id,
            task.outputs()
        );
    }
    // The names in config.json are those of the base's head, and of one that was trained on from it.
    let names = heads.names.filter(|n| !fresh && outputs == Some(n.len() as i64));
    let names = match names {
        Some(names) if !classes.is_empty() => names,
        other => return Ok(other.unwrap_or(classes)),
    };
    let order = rows_of(&names, &classes.iter().map(String::as_str).collect::<Vec<_>>());
    let order = order.with_context(|| {
        format!(
            "{} calls the outputs of the head {}, and the classes of the task are {}",
            found.base.dir.join("config.json").display(),
            names.join(", "),
            classes.join(", ")
        )
    })?;
    let mut named = names;
    for (row, class) in order.into_iter().zip(classes) {
        named[row as usize] = class;
    }
    Ok(named)
}
