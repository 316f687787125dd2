//! The tensor layouts of loralib.

use super::super::pickle::tests::{state_dict, tensor as entry};
use super::super::torch_file::tests::{archive, numbers};
use super::*;

fn file(tensors: &[(&str, &[i32], Vec<f32>)]) -> tempfile::NamedTempFile {
    let mut data = Vec::new();
    let mut entries = Vec::new();
    for (i, (name, size, values)) in tensors.iter().enumerate() {
        let stride: Vec<i32> = (0..size.len()).map(|d| size[d + 1..].iter().product()).collect();
        let key = i.to_string();
        entries.push((*name, entry(&key, values.len() as i32, 0, size, &stride)));
        data.push((format!("x/data/{key}"), numbers(values)));
    }
    let pickle = state_dict(&entries);
    let mut all: Vec<(&str, &[u8])> = vec![("x/data.pkl", &pickle)];
    all.extend(data.iter().map(|(n, b)| (n.as_str(), b.as_slice())));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), archive(&all)).unwrap();
    file
}

fn counted(n: usize) -> Vec<f32> {
    (0..n).map(|i| i as f32).collect()
}

#[test]
fn a_merged_linear_becomes_query_and_value() {
    // r = 2, two slots of width 3 over 4 features.
    let file = file(&[
        ("module.transformer.h.0.attn.c_attn.lora_A", &[4, 4], counted(16)),
        ("module.transformer.h.0.attn.c_attn.lora_B", &[6, 2], counted(12)),
    ]);
    let adapter = open_loralib(file.path(), Some(8.0)).unwrap();
    let names: Vec<&String> = adapter.tensors.keys().collect();
    let layer = "transformer.h.0.attn.c_attn";
    let all = ["query.lora_A", "query.lora_B", "value.lora_A", "value.lora_B"];
    assert_eq!(
        names,
        all.map(|n| format!("{layer}.{n}.weight")).iter().collect::<Vec<_>>()
    );
    let values = |slot: &str| {
        let tensor = &adapter.tensors[&format!("{layer}.{slot}.weight")];
        (
            tensor.size(),
            Vec::<f32>::try_from(tensor.contiguous().view([-1])).unwrap(),
        )
    };
    assert_eq!(values("query.lora_A"), (vec![2, 4], counted(8)));
    assert_eq!(values("value.lora_A").1[0], 8.0);
    assert_eq!(values("query.lora_B"), (vec![3, 2], counted(6)));
    assert_eq!(values("value.lora_B").1, [6.0, 7.0, 8.0, 9.0, 10.0, 11.0]);
}

#[test]
fn files_without_an_adapter_are_refused() {
    let refused = |tensors: &[(&str, &[i32], Vec<f32>)], what: &str| {
        let message = open_loralib(file(tensors).path(), None).unwrap_err().to_string();
        assert!(message.contains(what), "{what}: {message}");
    };
    refused(&[("w", &[1], counted(1))], "no LoRA factors");
    refused(&[("q.lora_A", &[1, 2], counted(2))], "`q` has only one of");
    let b = ("q.lora_B", &[2, 2][..], counted(4));
    refused(&[("q.lora_A", &[3, 2], counted(6)), b.clone()], "neither a Linear's");
    refused(&[("q.lora_A", &[10, 1], counted(10)), b], "neither a Linear's");
}
