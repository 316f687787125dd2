#!/usr/bin/env python3
"""Writes what transformers computes with a full pretrained BERT encoder (MiniLM) on 100 real sentence pairs.

  pip install torch==2.11.0 transformers safetensors
  make_minilm_golden.py MODEL_DIR DATA_DIR OUT.safetensors

MODEL_DIR is a Hugging Face folder; DATA_DIR holds glue_data/RTE/dev.tsv (or RTE/dev.tsv). OUT is not committed: the test reads
the model from the environment's LORA_MINILM and OUT from LORA_MINILM_GOLDEN. OUT holds the first 100 dev pairs, packed:

  input_ids, token_type_ids [T] i64   rows one after another, with [CLS] and [SEP], truncated to 128, no padding
  lengths [100] i64                   tokens of each row, their sum is T
  pooled [100, hidden] f32            tanh of the checkpoint's own pooler
  logits [100, 2] f32                 classifier over `pooled`
  classifier.weight [2, hidden] f32, classifier.bias [2] f32   fixed by a formula, since the checkpoint has none
"""
import argparse
import csv
import os

import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertForSequenceClassification

PAIRS, MAX_LENGTH, ROWS_AT_ONCE = 100, 128, 20


def read_pairs(data):
    places = [os.path.join(data, *parts, "RTE", "dev.tsv") for parts in (("glue_data",), ())]
    path = next((place for place in places if os.path.exists(place)), None)
    if path is None:
        raise SystemExit(f"no RTE dev set: looked for {' and '.join(places)}")
    with open(path, encoding="utf-8", newline="") as f:
        rows = list(csv.DictReader(f, delimiter="\t", quoting=csv.QUOTE_NONE))[:PAIRS]
    if len(rows) < PAIRS:
        raise SystemExit(f"{path} has {len(rows)} rows, {PAIRS} are needed")
    return [(row["sentence1"], row["sentence2"]) for row in rows]


def fixed_classifier(model):
    """Two directions of sines: reproducible anywhere, neither constant nor symmetric."""
    with torch.no_grad():
        weight, bias = model.classifier.weight, model.classifier.bias
        weight.copy_(0.1 * torch.sin(torch.arange(1, weight.numel() + 1, dtype=torch.float64)).view_as(weight))
        bias.copy_(torch.tensor([0.25, -0.5]))
    return {"classifier.weight": weight.detach().clone(), "classifier.bias": bias.detach().clone()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("model_dir", "data_dir", "out"):
        parser.add_argument(name)
    args = parser.parse_args()
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(args.model_dir)
    model = BertForSequenceClassification.from_pretrained(args.model_dir, num_labels=2, dtype=torch.float32,
                                                          attn_implementation="eager").eval()
    tensors = fixed_classifier(model)
    rows = [tokenizer(*pair, truncation=True, max_length=MAX_LENGTH, return_token_type_ids=True)
            for pair in read_pairs(args.data_dir)]
    pooled, logits = [], []
    with torch.no_grad():
        for start in range(0, PAIRS, ROWS_AT_ONCE):
            # Rows as they come, so that every batch is ragged.
            batch = tokenizer.pad(rows[start:start + ROWS_AT_ONCE], return_tensors="pt")
            pooled.append(model.bert(**batch).pooler_output)
            logits.append(model.classifier(pooled[-1]))
            assert torch.equal(logits[-1], model(**batch).logits)
    flat = lambda key: torch.tensor([value for row in rows for value in row[key]])
    tensors.update(input_ids=flat("input_ids"), token_type_ids=flat("token_type_ids"), pooled=torch.cat(pooled),
                   logits=torch.cat(logits), lengths=torch.tensor([len(row["input_ids"]) for row in rows]))
    save_file(tensors, args.out)
    for name, value in sorted(tensors.items()):
        print(f"{name:18} {list(value.shape)} {str(value.dtype).removeprefix('torch.')}")


if __name__ == "__main__":
    main()
