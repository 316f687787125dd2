#!/usr/bin/env python3
"""Writes golden/masked_lm: what transformers' RobertaForMaskedLM computes for the encoder of golden/roberta.

  pip install torch==2.11.0 transformers safetensors
  make_masked_lm_golden.py      (after make_golden.py)

  config.json model.safetensors   the encoder of golden/roberta with a language-model head, every parameter re-drawn
  batches.json                    one ragged batch: input_ids, and wanted (the id at each scored token, -100 elsewhere)
  expected.json                   the loss
  expected.safetensors            full/logits [scored tokens, vocab] in order, and full/grad/NAME
"""
import json
import os
import random

import torch
import transformers
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
OUT = os.path.join(HERE, "masked_lm")
UNSCORED = -100


def build():
    encoder = os.path.join(HERE, "roberta")
    config = transformers.RobertaConfig.from_pretrained(encoder, attn_implementation="eager")
    model = transformers.RobertaForMaskedLM(config).eval()
    weights = {n.removeprefix("roberta."): t for n, t in load_file(os.path.join(encoder, "model.safetensors")).items()
               if n.startswith("roberta.")}
    model.roberta.load_state_dict(weights, strict=True)
    draw = torch.Generator().manual_seed(21)
    with torch.no_grad():
        for name, p in model.lm_head.named_parameters():
            if p is model.roberta.embeddings.word_embeddings.weight:
                continue
            p.normal_(1.0 if name == "layer_norm.weight" else 0.0, 0.2, generator=draw)
    return model


def make_batch(vocab):
    rng = random.Random(22)
    ids, wanted = [], []
    for length in (17, 4, 40, 9):
        ids.append([rng.randrange(3, vocab) for _ in range(length)])
        row = [rng.randrange(3, vocab) if rng.random() < 0.3 else UNSCORED for _ in range(length)]
        row[rng.randrange(length)] = rng.randrange(3, vocab)
        wanted.append(row)
    return {"input_ids": ids, "wanted": wanted}


def main():
    torch.set_num_threads(1)
    model = build()
    batch = make_batch(model.config.vocab_size)
    width = max(map(len, batch["input_ids"]))
    fill = lambda rows, value: torch.tensor([row + [value] * (width - len(row)) for row in rows])
    wanted = fill(batch["wanted"], UNSCORED)
    logits = model(input_ids=fill(batch["input_ids"], model.config.pad_token_id),
                   attention_mask=fill([[1] * len(row) for row in batch["input_ids"]], 0)).logits
    scored = logits[wanted != UNSCORED]
    loss = F.cross_entropy(scored, wanted[wanted != UNSCORED])
    loss.backward()
    os.makedirs(OUT, exist_ok=True)
    tensors = {"full/logits": scored.detach().contiguous()}
    # The pooler and other unused parameters have no gradient; the output layer shares the table of the tokens.
    tensors |= {f"full/grad/{n}": p.grad.contiguous() for n, p in model.named_parameters() if p.grad is not None}
    save_file(tensors, os.path.join(OUT, "expected.safetensors"))
    model.save_pretrained(OUT)
    for name, value in {"batches.json": [batch], "expected.json": {"loss": {"full": loss.item()}}}.items():
        with open(os.path.join(OUT, name), "w") as f:
            json.dump(value, f, separators=(",", ":"))
            f.write("\n")
    print(f"{len(scored)} scored tokens, loss {loss.item():.6f}")


if __name__ == "__main__":
    main()
