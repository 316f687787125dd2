//! Pickles as torch writes them, and hostile or damaged ones.

use super::*;

/// BINUNICODE.
pub(in super::super) fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn int(n: i32) -> Vec<u8> {
    [b"J", &n.to_le_bytes()[..]].concat()
}

fn tuple(items: &[i32]) -> Vec<u8> {
    let items: Vec<u8> = items.iter().flat_map(|n| int(*n)).collect();
    [b"(", &items[..], b"t"].concat()
}

/// A tensor as torch.save writes it, in a storage `key` of `count` elements.
pub(in super::super) fn tensor(key: &str, count: i32, offset: i32, size: &[i32], stride: &[i32]) -> Vec<u8> {
    [
        &b"ctorch._utils\n_rebuild_tensor_v2\n(("[..],
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text(key),
        &text("cpu"),
        &int(count),
        b"tQ",
        &int(offset),
        &tuple(size),
        &tuple(stride),
        b"\x89ccollections\nOrderedDict\n)RtR",
    ]
    .concat()
}

/// A state_dict of `entries`, with the `_metadata` that torch adds.
pub(in super::super) fn state_dict(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let entries: Vec<u8> = entries
        .iter()
        .flat_map(|(n, t)| [text(n), t.clone()].concat())
        .collect();
    let metadata = [&b"}"[..], &text("_metadata"), b"ccollections\nOrderedDict\n)Rsb"].concat();
    [
        &b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01("[..],
        &entries,
        b"u",
        &metadata,
        b".",
    ]
    .concat()
}

fn tensors(bytes: &[u8]) -> Result<BTreeMap<&str, View<'_>>, Fault> {
    Program::run(bytes)?.tensors()
}

fn refused(bytes: &[u8]) -> String {
    tensors(bytes).map(|t| format!("{t:?}")).unwrap_err()
}

#[test]
fn a_state_dict_is_read() {
    let bytes = state_dict(&[
        ("a.lora_A", tensor("0", 6, 0, &[2, 3], &[3, 1])),
        ("b", tensor("1", 9, 3, &[2], &[2])),
    ]);
    let found = tensors(&bytes).unwrap();
    assert_eq!(found.keys().copied().collect::<Vec<_>>(), ["a.lora_A", "b"]);
    let a = &found["a.lora_A"];
    assert_eq!((a.storage.key, a.storage.dtype, a.storage.count), ("0", Dtype::F32, 6));
    assert_eq!(
        (&a.size[..], &a.stride[..], found["b"].offset),
        (&[2, 3][..], &[3, 1][..], 3)
    );
}

#[test]
fn a_checkpoint_is_unwrapped_and_other_entries_are_ignored() {
    let inner = state_dict(&[("w", tensor("0", 1, 0, &[1], &[1]))]);
    let inner = &inner[2..inner.len() - 1]; // without PROTO and STOP
    let whole = [
        &b"\x80\x02}("[..],
        &text("epoch"),
        &int(3),
        &text("model_state_dict"),
        inner,
        &text("best"),
        b"G\x3f\xf0\0\0\0\0\0\0u.",
    ]
    .concat();
    assert_eq!(tensors(&whole).unwrap().into_keys().collect::<Vec<_>>(), ["w"]);
}

#[test]
fn imports_and_calls_are_refused_by_name() {
    let system = [&b"\x80\x02cposix\nsystem\n"[..], &text("echo no"), b"\x85R."].concat();
    assert!(refused(&system).contains("`posix.system`"), "{}", refused(&system));
    let eval = [&b"\x80\x02cbuiltins\neval\n"[..], &text("1"), b"\x85R."].concat();
    assert!(refused(&eval).contains("`builtins.eval`"));
    let by_stack = [
        &b"\x80\x04"[..],
        &text("os"),
        &text("system"),
        b"\x93",
        &text("x"),
        b"\x85R.",
    ]
    .concat();
    assert!(refused(&by_stack).contains("`os.system`"));
    // Inside an otherwise valid checkpoint.
    let mut entry = tensor("0", 1, 0, &[1], &[1]);
    entry.splice(..0, [&b"csubprocess\nPopen\n("[..], &text("x"), b"tR0"].concat());
    assert!(refused(&state_dict(&[("w", entry)])).contains("`subprocess.Popen`"));
    for (bytes, name) in [
        (&b"\x80\x02(ios\nsystem\n."[..], "INST"),
        (b"\x80\x02)\x81.", "NEWOBJ"),
        (b"\x80\x02(o.", "OBJ"),
        (b"\x80\x02\x82\x01.", "EXT"),
        (b"\x80\x02P1\n.", "PERSID"),
        (b"cos\nsy\x1b[2Jstem\n.", "u{1b}"),
    ] {
        assert!(refused(bytes).contains(name), "{name}: {}", refused(bytes));
    }
    // Known functions with invalid arguments.
    assert!(refused(b"\x80\x02ctorch\nFloatStorage\n)R.").contains("called with invalid"));
    assert!(refused(b"\x80\x02ccollections\nOrderedDict\n]\x85R.").contains("called with invalid"));
    assert!(refused(b"\x80\x02K\x01}b.").contains("BUILD"));
}

#[test]
fn tensors_lie_inside_their_storage() {
    let one = |count, offset, size: &[i32], stride: &[i32]| {
        tensors(&state_dict(&[("w", tensor("0", count, offset, size, stride))])).is_ok()
    };
    assert!(one(6, 0, &[2, 3], &[3, 1]) && one(6, 5, &[1], &[1]) && one(0, 0, &[0, 3], &[3, 1]) && one(4, 0, &[], &[]));
    assert!(!one(6, 1, &[2, 3], &[3, 1]), "one too far");
    assert!(!one(6, -1, &[2], &[1]) && !one(6, 0, &[-2], &[1]) && !one(6, 5, &[2], &[-1]));
    assert!(
        !one(6, 0, &[i32::MAX, i32::MAX], &[0, 0]),
        "a stride of 0 makes much of little"
    );
    assert!(!one(6, 0, &[i32::MAX, i32::MAX, i32::MAX], &[i32::MAX, 1, 1]));
    assert!(!one(6, 0, &[2, 3], &[3]), "as many strides as sizes");
}

#[test]
fn nesting_and_cycles_need_no_recursion() {
    let deep = [&b"\x80\x02)"[..], &vec![0x85; 1 << 20], b"."].concat();
    assert!(refused(&deep).contains("not a dictionary"));
    let wide = [&b"\x80\x02"[..], &b"}".repeat(1 << 16), b"."].concat();
    assert!(tensors(&wide).unwrap().is_empty());
    // A list and a dictionary that contain themselves.
    assert!(refused(b"\x80\x02]q\x00h\x00a.").contains("not a dictionary"));
    let own = [&b"\x80\x02}q\x00"[..], &text("model"), b"h\x00s."].concat();
    assert!(refused(&own).contains("not a tensor"), "{}", refused(&own));
}

#[test]
fn lengths_beyond_the_end_are_refused() {
    for bytes in [
        &b""[..],
        b"\x80",
        b"\x80\x02X\xff\xff\xff\xffab.",
        b"\x80\x02\x8d\xff\xff\xff\xff\xff\xff\xff\xffab.",
        b"\x80\x02\x8a\xffab.",
        b"\x80\x02h\x07.",
        b"\x80\x02j\xff\xff\xff\xff.",
        b"\x80\x02t.",
        b"\x80\x02(0.",
        b"\x80\x02K\x01(e.",
        b"\x80\x02.",
        b"\x80\x02cos",
        b"\x80\x02q\x00.",
        b"\x80\x02\x8c\x02\xff\xfe.",
    ] {
        assert!(tensors(bytes).is_err(), "{bytes:?}");
    }
}

#[test]
fn truncated_and_damaged_pickles_do_not_panic() {
    let whole = state_dict(&[
        ("a.lora_A", tensor("0", 6, 0, &[2, 3], &[3, 1])),
        ("a.lora_B", tensor("1", 6, 0, &[3, 2], &[2, 1])),
    ]);
    for end in 0..whole.len() {
        assert!(tensors(&whole[..end]).is_err(), "cut at {end}");
    }
    for at in 0..whole.len() {
        for value in 0..=255 {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let _ = tensors(&damaged);
        }
    }
}
