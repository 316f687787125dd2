#!/usr/bin/env python3
"""Writes golden/pickle: a tiny DeBERTa-v2 with random weights as safetensors and in the ways in which torch.save wrote it.

  pip install torch==2.11.0 transformers safetensors
  make_pickle_golden.py

safetensors/  model.safetensors
zip/          pytorch_model.bin as torch.save writes it since 1.6
old/          pytorch_model.bin as before torch 1.6
shards/       two files of fp16 with their index
expected.json rows of ids, and the logits of transformers for them (`logits`; of fp16 weights: `logits_half`)

The pickles have what published ones have besides: a buffer of positions, the head of pretraining, tensors that share a
storage, one that is a transposed view, and one that is a Parameter.
"""
import json
import os

import torch
from safetensors.torch import save_file
from transformers import DebertaV2Config, DebertaV2ForSequenceClassification

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", "pickle")
ROWS = [[1, 5, 9, 2], [1, 30, 31, 8, 7, 6, 11, 2], [1, 39, 2]]


def place(*parts):
    path = os.path.join(ROOT, *parts)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    return path


def logits(model):
    with torch.no_grad():
        return [model(input_ids=torch.tensor([row])).logits[0].tolist() for row in ROWS]


def published(model):
    state = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
    turned = "deberta.encoder.layer.0.intermediate.dense.weight"
    state[turned] = state[turned].t().contiguous().t()
    bias = "deberta.encoder.layer.1.output.dense.bias"
    state[bias] = torch.nn.Parameter(state[bias])
    words = state["deberta.embeddings.word_embeddings.weight"]
    state["deberta.embeddings.position_ids"] = torch.arange(16)[None]
    state["lm_predictions.lm_head.dense.weight"] = words[:8]
    return state


def main():
    torch.manual_seed(7)
    config = DebertaV2Config(
        vocab_size=40, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
        max_position_embeddings=16, type_vocab_size=0, relative_attention=True, position_buckets=4,
        max_relative_positions=-1, pos_att_type=["p2c", "c2p"], position_biased_input=False, share_att_key=True,
        norm_rel_ebd="layer_norm", conv_kernel_size=3, conv_act="gelu", initializer_range=0.3, num_labels=3,
        attn_implementation="eager")
    model = DebertaV2ForSequenceClassification(config).eval()
    for name, value in model.named_parameters():
        if name.endswith("bias"):
            torch.nn.init.normal_(value, std=0.2)
    config.save_pretrained(ROOT)
    plain = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(plain, place("safetensors", "model.safetensors"))
    state = published(model)
    torch.save(state, place("zip", "pytorch_model.bin"))
    torch.save(state, place("old", "pytorch_model.bin"), _use_new_zipfile_serialization=False)
    expected = {"rows": ROWS, "logits": logits(model)}

    names = sorted(plain)
    files = {}
    for number, part in enumerate((names[: len(names) // 2], names[len(names) // 2:]), 1):
        file = f"pytorch_model-{number:05}-of-00002.bin"
        torch.save({name: plain[name].half() for name in part}, place("shards", file))
        files.update({name: file for name in part})
    with open(place("shards", "pytorch_model.bin.index.json"), "w", encoding="utf-8") as f:
        json.dump({"metadata": {}, "weight_map": files}, f, indent=1)
    model.load_state_dict({name: tensor.half().float() for name, tensor in plain.items()})
    expected["logits_half"] = logits(model)
    with open(place("expected.json"), "w", encoding="utf-8") as f:
        json.dump(expected, f)
        f.write("\n")


if __name__ == "__main__":
    main()
