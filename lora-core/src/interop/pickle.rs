//! An interpreter for the part of Python's pickle format that dictionaries of tensors use.
//!
//! A pickle is a program that may import and call any function. This interpreter knows only the names in [`Global`] and
//! refuses every other name and opcode. Values are stored in one arena and refer to each other by index, so that
//! nesting and cycles need no recursion. Allocated memory is proportional to the bytes read.
//!
//! Sources: the opcodes in CPython's `Lib/pickletools.py`; their use by torch.save in `torch/_utils.py` and
//! `torch/serialization.py`.

use std::collections::{BTreeMap, HashMap};

/// An error message.
pub(super) type Fault = String;

/// The data types of torch's storages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dtype {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    U8,
    Bool,
}

/// The names that a pickle may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Global {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    Storage(Dtype),
}

impl Global {
    fn find(module: &str, name: &str) -> Result<Global, Fault> {
        Ok(match (module, name) {
            ("collections", "OrderedDict") => Global::OrderedDict,
            ("torch._utils", "_rebuild_tensor_v2") => Global::RebuildTensor,
            ("torch._utils", "_rebuild_parameter") => Global::RebuildParameter,
            ("torch", "DoubleStorage") => Global::Storage(Dtype::F64),
            ("torch", "FloatStorage") => Global::Storage(Dtype::F32),
            ("torch", "HalfStorage") => Global::Storage(Dtype::F16),
            ("torch", "BFloat16Storage") => Global::Storage(Dtype::BF16),
            ("torch", "LongStorage") => Global::Storage(Dtype::I64),
            ("torch", "IntStorage") => Global::Storage(Dtype::I32),
            ("torch", "ByteStorage") => Global::Storage(Dtype::U8),
            ("torch", "BoolStorage") => Global::Storage(Dtype::Bool),
            _ => {
                return Err(format!(
                    "it imports `{}.{}`, which no tensor needs: nothing was executed; do not trust this file",
                    printable(module),
                    printable(name)
                ));
            }
        })
    }
}

/// A flat array of elements, which tensors view.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Storage<'p> {
    /// The storage's name in the file: digits.
    pub key: &'p str,
    pub dtype: Dtype,
    /// Number of elements.
    pub count: i64,
}

/// A tensor: a view that lies inside its storage.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct View<'p> {
    pub storage: Storage<'p>,
    pub offset: i64,
    pub size: Vec<i64>,
    pub stride: Vec<i64>,
}

#[derive(Clone, Copy, Debug)]
enum Value<'p> {
    None,
    Bool(bool),
    Int(i64),
    Float,
    Text(&'p str),
    Global(Global),
    /// Index into the arena.
    Node(usize),
}

#[derive(Debug)]
enum Node<'p> {
    Tuple(Vec<Value<'p>>),
    List(Vec<Value<'p>>),
    Dict(Vec<(Value<'p>, Value<'p>)>),
    Storage(Storage<'p>),
    Tensor(View<'p>),
}

/// Maximal size of a pickle in bytes; a dictionary of a thousand tensors takes a hundred kilobytes.
pub(super) const MAX_LEN: u64 = 8 << 20;

/// Keys under which training scripts store the dictionary of weights.
const WRAPPERS: [&str; 3] = ["model_state_dict", "state_dict", "model"];

/// The result of running a pickle.
#[derive(Debug)]
pub(super) struct Program<'p> {
    machine: Machine<'p>,
    root: Value<'p>,
}

impl<'p> Program<'p> {
    /// Runs the pickle at the start of `bytes`.
    pub(super) fn run(bytes: &'p [u8]) -> Result<Program<'p>, Fault> {
        let mut machine = Machine {
            bytes,
            at: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            arena: Vec::new(),
        };
        match machine.run() {
            Ok(root) => Ok(Program { machine, root }),
            Err(what) => Err(format!("at byte {} of the pickle: {what}", machine.at)),
        }
    }

    /// Length of the pickle in bytes.
    pub(super) fn len(&self) -> usize {
        self.machine.at
    }

    /// The tensors of the dictionary by name, or those of the dictionary under its key `model_state_dict`, `state_dict`
    /// or `model`, if there is one.
    pub(super) fn tensors(&self) -> Result<BTreeMap<&'p str, View<'p>>, Fault> {
        let whole = self
            .dict(self.root)
            .ok_or("the pickle is not a dictionary of tensors")?;
        let wrapped = |(key, value): &(Value<'p>, Value<'p>)| match key {
            Value::Text(key) if WRAPPERS.contains(key) => self.dict(*value),
            _ => None,
        };
        let entries = whole.iter().find_map(wrapped).unwrap_or(whole);
        let mut found = BTreeMap::new();
        for (key, value) in entries {
            let Value::Text(name) = key else {
                return Err("a key of the dictionary is not a string".into());
            };
            let view = match self.machine.node(*value) {
                Some(Node::Tensor(view)) => view.clone(),
                _ => return Err(format!("`{}` is not a tensor", printable(name))),
            };
            if found.insert(*name, view).is_some() {
                return Err(format!("`{}` occurs twice", printable(name)));
            }
        }
        Ok(found)
    }

    /// All storages that the pickle refers to.
    pub(super) fn storages(&self) -> impl Iterator<Item = Storage<'p>> {
        self.machine.arena.iter().filter_map(|node| match node {
            Node::Storage(storage) => Some(*storage),
            _ => None,
        })
    }

    /// The strings of a list.
    pub(super) fn texts(&self) -> Result<Vec<&'p str>, Fault> {
        let Some(Node::List(items)) = self.machine.node(self.root) else {
            return Err("the pickle is not a list".into());
        };
        let text = |value: &Value<'p>| match value {
            Value::Text(text) => Ok(*text),
            _ => Err("an item of the list is not a string".to_string()),
        };
        items.iter().map(text).collect()
    }

    /// The boolean under `key` of the dictionary.
    pub(super) fn boolean(&self, key: &str) -> Option<bool> {
        self.dict(self.root)?.iter().find_map(|entry| match entry {
            (Value::Text(text), Value::Bool(value)) if *text == key => Some(*value),
            _ => None,
        })
    }

    fn dict(&self, value: Value) -> Option<&Vec<(Value<'p>, Value<'p>)>> {
        match self.machine.node(value)? {
            Node::Dict(entries) => Some(entries),
            _ => None,
        }
    }
}

#[derive(Debug)]
struct Machine<'p> {
    bytes: &'p [u8],
    at: usize,
    stack: Vec<Value<'p>>,
    /// Stack heights at the marks.
    marks: Vec<usize>,
    memo: HashMap<u64, Value<'p>>,
    arena: Vec<Node<'p>>,
}

impl<'p> Machine<'p> {
    /// Runs up to STOP and returns the value on top of the stack.
    fn run(&mut self) -> Result<Value<'p>, Fault> {
        loop {
            let [opcode] = *self.take()?;
            match opcode {
                b'.' => return self.pop(),
                // PROTO and FRAME: the format is the same from protocol 2 on, and frames only help buffering.
                0x80 => self.number::<1>().map(|_| ())?,
                0x95 => self.number::<8>().map(|_| ())?,
                b'(' => self.marks.push(self.stack.len()),
                b'0' => self.pop().map(|_| ())?,
                b'c' | 0x93 => self.global(opcode)?,
                b'q' | b'r' | 0x94 | b'h' | b'j' => self.memo(opcode)?,
                b'N' | 0x88 | 0x89 | b'K' | b'M' | b'J' | 0x8a | b'G' | b'X' | 0x8c | 0x8d => self.literal(opcode)?,
                b')' | b']' | b'}' | b't' | 0x85..=0x87 => self.container(opcode)?,
                b'a' | b'e' | b's' | b'u' => self.fill(opcode)?,
                b'R' => self.call()?,
                b'Q' => self.storage()?,
                b'b' => self.build()?,
                other => {
                    return Err(format!(
                        "the opcode {} is not supported: no tensor needs it",
                        opcode_name(other)
                    ));
                }
            }
        }
    }

    fn take<const N: usize>(&mut self) -> Result<&'p [u8; N], Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = rest.first_chunk().ok_or("the pickle is truncated")?;
        self.at += N;
        Ok(taken)
    }

    fn take_slice(&mut self, len: u64) -> Result<&'p [u8], Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let taken = usize::try_from(len).ok().and_then(|len| rest.get(..len));
        let taken = taken.ok_or_else(|| format!("a string of {len} bytes is longer than the pickle"))?;
        self.at += taken.len();
        Ok(taken)
    }

    /// A little-endian unsigned integer of N bytes.
    fn number<const N: usize>(&mut self) -> Result<u64, Fault> {
        Ok(self.take::<N>()?.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)))
    }

    fn line(&mut self) -> Result<&'p str, Fault> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let len = rest.iter().position(|b| *b == b'\n').ok_or("a name without an end")?;
        let line = std::str::from_utf8(&rest[..len]).map_err(|_| "a name that is not UTF-8")?;
        self.at += len + 1;
        Ok(line)
    }

    fn pop(&mut self) -> Result<Value<'p>, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.pop() {
            Some(value) if self.stack.len() >= floor => Ok(value),
            _ => Err("the stack is empty".into()),
        }
    }

    /// Removes the last mark and everything above it.
    fn pop_marked(&mut self) -> Result<Vec<Value<'p>>, Fault> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        if mark > self.stack.len() {
            return Err("a mark is above the stack".into());
        }
        Ok(self.stack.split_off(mark))
    }

    fn push(&mut self, node: Node<'p>) {
        self.stack.push(Value::Node(self.arena.len()));
        self.arena.push(node);
    }

    fn global(&mut self, opcode: u8) -> Result<(), Fault> {
        let (module, name) = if opcode == b'c' {
            (self.line()?, self.line()?)
        } else {
            let name = self.pop()?;
            match (self.pop()?, name) {
                (Value::Text(module), Value::Text(name)) => (module, name),
                _ => return Err("a global whose name is not a string".into()),
            }
        };
        self.stack.push(Value::Global(Global::find(module, name)?));
        Ok(())
    }

    fn memo(&mut self, opcode: u8) -> Result<(), Fault> {
        let slot = match opcode {
            b'q' | b'h' => self.number::<1>()?,
            b'r' | b'j' => self.number::<4>()?,
            _ => self.memo.len() as u64,
        };
        if matches!(opcode, b'h' | b'j') {
            let value = self
                .memo
                .get(&slot)
                .ok_or_else(|| format!("the memo has no entry {slot}"))?;
            self.stack.push(*value);
        } else {
            let top = self.stack.last().ok_or("the stack is empty")?;
            self.memo.insert(slot, *top);
        }
        Ok(())
    }

    fn literal(&mut self, opcode: u8) -> Result<(), Fault> {
        let value = match opcode {
            b'N' => Value::None,
            0x88 | 0x89 => Value::Bool(opcode == 0x88),
            b'K' => Value::Int(self.number::<1>()? as i64),
            b'M' => Value::Int(self.number::<2>()? as i64),
            b'J' => Value::Int(i64::from(self.number::<4>()? as u32 as i32)),
            0x8a => Value::Int(self.long()?),
            b'G' => {
                self.take::<8>()?;
                Value::Float
            }
            _ => {
                let len = match opcode {
                    0x8c => self.number::<1>()?,
                    b'X' => self.number::<4>()?,
                    _ => self.number::<8>()?,
                };
                let text = std::str::from_utf8(self.take_slice(len)?).map_err(|_| "a string that is not UTF-8")?;
                Value::Text(text)
            }
        };
        self.stack.push(value);
        Ok(())
    }

    /// LONG1: a length and that many bytes in two's complement.
    fn long(&mut self) -> Result<i64, Fault> {
        let len = self.number::<1>()?;
        if len > 8 {
            return Err(format!("an integer of {len} bytes"));
        }
        let bytes = self.take_slice(len)?;
        let negative = bytes.last().is_some_and(|b| b & 0x80 != 0);
        let start = if negative { -1_i64 } else { 0 };
        Ok(bytes.iter().rev().fold(start, |n, b| n << 8 | i64::from(*b)))
    }

    fn container(&mut self, opcode: u8) -> Result<(), Fault> {
        let node = match opcode {
            b']' => Node::List(Vec::new()),
            b'}' => Node::Dict(Vec::new()),
            b')' => Node::Tuple(Vec::new()),
            b't' => Node::Tuple(self.pop_marked()?),
            _ => {
                let mut items = (0x85..=opcode).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
                items.reverse();
                Node::Tuple(items)
            }
        };
        self.push(node);
        Ok(())
    }

    /// APPEND, APPENDS, SETITEM, SETITEMS.
    fn fill(&mut self, opcode: u8) -> Result<(), Fault> {
        let mut items = match opcode {
            b'a' => vec![self.pop()?],
            b's' => {
                let value = self.pop()?;
                vec![self.pop()?, value]
            }
            _ => self.pop_marked()?,
        };
        let Some(Value::Node(into)) = self.stack.last() else {
            return Err("items for a value that is not a container".into());
        };
        match &mut self.arena[*into] {
            Node::List(list) if matches!(opcode, b'a' | b'e') => list.append(&mut items),
            Node::Dict(dict) if matches!(opcode, b's' | b'u') && items.len().is_multiple_of(2) => {
                dict.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
            }
            _ => return Err("items for another kind of container".into()),
        }
        Ok(())
    }

    /// REDUCE: calls one of the functions in [`Global`].
    fn call(&mut self) -> Result<(), Fault> {
        let arguments = self.pop()?;
        let function = self.pop()?;
        let (Value::Global(function), Some(Node::Tuple(items))) = (function, self.node(arguments)) else {
            return Err("a call of a value that is not a function".into());
        };
        match (function, items.as_slice()) {
            (Global::OrderedDict, []) => self.push(Node::Dict(Vec::new())),
            (Global::RebuildTensor, [storage, Value::Int(offset), size, stride, ..]) => {
                let view = self.view(*storage, *offset, *size, *stride)?;
                self.push(Node::Tensor(view));
            }
            (Global::RebuildParameter, [tensor @ Value::Node(n), ..]) if matches!(self.arena[*n], Node::Tensor(_)) => {
                let tensor = *tensor;
                self.stack.push(tensor);
            }
            _ => return Err(format!("{function:?} is called with invalid arguments")),
        }
        Ok(())
    }

    fn node(&self, value: Value<'_>) -> Option<&Node<'p>> {
        match value {
            Value::Node(n) => self.arena.get(n),
            _ => None,
        }
    }

    fn view(&self, storage: Value, offset: i64, size: Value, stride: Value) -> Result<View<'p>, Fault> {
        let Some(Node::Storage(storage)) = self.node(storage) else {
            return Err("a tensor without a storage".into());
        };
        let (size, stride) = (self.ints(size)?, self.ints(stride)?);
        let fits = || {
            // The view must not reach beyond the storage or, with a stride of 0, have more elements than it.
            let count = size
                .iter()
                .try_fold(1_i64, |n, s| n.checked_mul(*s).filter(|_| *s >= 0))?;
            let steps = size.iter().zip(&stride);
            let last = steps.filter(|(s, _)| **s > 0).try_fold(offset, |at, (s, step)| {
                at.checked_add((s - 1).checked_mul(*step).filter(|_| *step >= 0)?)
            })?;
            Some(offset >= 0 && count <= storage.count && (count == 0 || last < storage.count))
        };
        if size.len() != stride.len() || size.len() > 8 || fits() != Some(true) {
            return Err(format!(
                "a tensor of size {size:?} with strides {stride:?} at offset {offset} exceeds its storage of {} elements",
                storage.count
            ));
        }
        Ok(View {
            storage: *storage,
            offset,
            size,
            stride,
        })
    }

    fn ints(&self, value: Value) -> Result<Vec<i64>, Fault> {
        let Some(Node::Tuple(items)) = self.node(value) else {
            return Err("a size that is not a tuple".into());
        };
        let int = |v: &Value| match v {
            Value::Int(n) => Ok(*n),
            _ => Err("a size that is not an integer".to_string()),
        };
        items.iter().map(int).collect()
    }

    /// BINPERSID: a storage outside the pickle, as ("storage", type, key, device, count). Before torch 1.6 a sixth item
    /// follows, None or the storage that contains this one; only None is supported.
    fn storage(&mut self) -> Result<(), Fault> {
        let id = self.pop()?;
        let storage = match self.node(id) {
            Some(Node::Tuple(items)) => match items.as_slice() {
                [
                    Value::Text("storage"),
                    Value::Global(Global::Storage(dtype)),
                    Value::Text(key),
                    Value::Text(_),
                    Value::Int(count),
                ]
                | [
                    Value::Text("storage"),
                    Value::Global(Global::Storage(dtype)),
                    Value::Text(key),
                    Value::Text(_),
                    Value::Int(count),
                    Value::None,
                ] => Some((key, dtype, count)),
                _ => None,
            },
            _ => None,
        };
        let (key, dtype, count) = storage.ok_or("a persistent id that is not a storage")?;
        if key.is_empty() || key.len() > 20 || !key.bytes().all(|b| b.is_ascii_digit()) || *count < 0 {
            return Err(format!("a storage `{}` of {count} elements", printable(key)));
        }
        let (dtype, count) = (*dtype, *count);
        self.push(Node::Storage(Storage { key, dtype, count }));
        Ok(())
    }

    /// BUILD: torch sets the attribute `_metadata` of an OrderedDict, which is ignored.
    fn build(&mut self) -> Result<(), Fault> {
        self.pop()?;
        match self.stack.last().and_then(|top| self.node(*top)) {
            Some(Node::Dict(_)) => Ok(()),
            _ => Err("the opcode BUILD on a value that is not a dictionary".into()),
        }
    }
}

/// `text`, escaped and shortened for a message.
fn printable(text: &str) -> String {
    support::excerpt(text, 80)
}

/// The opcode, with its name if a hostile or foreign pickle is likely to use it.
fn opcode_name(opcode: u8) -> String {
    let name = match opcode {
        b'i' => "INST",
        b'o' => "OBJ",
        0x81 => "NEWOBJ",
        0x92 => "NEWOBJ_EX",
        0x82..=0x84 => "EXT (a registered extension)",
        b'P' => "PERSID",
        b'S' | b'T' | b'U' => "STRING",
        b'B' | b'C' | 0x8e | 0x96 => "BYTES",
        b'I' | b'L' | b'F' | b'V' | b'd' | b'l' | b'p' | b'g' => "of protocol 0",
        0x8b => "LONG4",
        0x8f..=0x91 => "of sets",
        b'1' => "POP_MARK",
        b'2' => "DUP",
        _ => "",
    };
    format!("{opcode:#04x} {name}").trim_end().to_string()
}

#[cfg(test)]
#[path = "tests/pickle.rs"]
pub(super) mod tests;
