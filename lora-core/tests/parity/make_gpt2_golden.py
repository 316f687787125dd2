#!/usr/bin/env python3
"""Writes golden/gpt2: what transformers' GPT2LMHeadModel computes, trains and writes, alone and under LoRA as loralib has it.

  pip install torch==2.11.0 transformers safetensors
  make_gpt2_golden.py

  config.json model.safetensors   a tiny GPT-2, every parameter re-drawn
  batches.json                    20 ragged batches of prompts and completions (ids without the end token between and behind them)
  adapter/ adapter_init/          LoRA on query and value with B random and B = 0: A and B of each of the two apart
  expected.json                   losses of batch 0, the recipe and the loss curves: one loss a batch, in order
  expected.safetensors            METHOD/logits at the scored tokens of batch 0, and METHOD/grad/NAME
  generate.json                   prompts, and what transformers' generate writes for each, alone in its batch
  sample.safetensors              scores, and the distribution that is left of them by each of sample.json's settings

The matrices of transformers' Conv1D are [in, out]; gradients are written as [out, in]. LoRA here is one layer over the fused
weight, as loralib's MergedLinear: A of the enabled slots stacked, B likewise, a grouped convolution of the two, zeros for the
slot that is off. The loss is the sum over the scored tokens / (their count + 0.0001), with label smoothing over all classes.
Everything is fp32, eager attention, one thread, dropout 0.
"""
import itertools
import json
import math
import os
import random

import torch
import transformers
from safetensors.torch import save_file
from torch.nn import functional as F
from transformers.generation import logits_process

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", "gpt2")
END, VOCAB, STEPS, MAX_LEN = 96, 97, 20, 40
SMOOTHING = 0.1
ENDS = [20, 36, 70]  # tokens that this model likes to write, so that texts end early and late
RECIPE = dict(betas=[0.9, 0.999], eps=1e-6, weight_decay=0.01, warmup=0.1, lr=dict(lora=1e-2, full=3e-4))
RANK, ALPHA, ON = 3, 7, ("query", None, "value")


def base(**other):
    config = transformers.GPT2Config(vocab_size=VOCAB, n_positions=64, n_embd=24, n_layer=3, n_head=4, n_inner=40, attn_pdrop=0.0,
                                     resid_pdrop=0.0, embd_pdrop=0.0, bos_token_id=END, eos_token_id=END, **other)
    config._attn_implementation = "eager"
    model = transformers.GPT2LMHeadModel(config).eval()
    draw = torch.Generator().manual_seed(31)
    with torch.no_grad():
        for name, p in model.named_parameters():
            norm = ".ln_" in name and name.endswith("weight")
            p.normal_(1.0 if norm else 0.0, 0.2, generator=draw)
    return model


class Merged(torch.nn.Module):
    """A Conv1D with updates for its enabled slots."""

    def __init__(self, conv, fresh, draw):
        super().__init__()
        self.conv, wide = conv, conv.weight.shape[0]
        slots = sum(name is not None for name in ON)
        bound = 1.0 / math.sqrt(wide)
        self.lora_A = torch.nn.Parameter(torch.empty(RANK * slots, wide).uniform_(-bound, bound, generator=draw))
        self.lora_B = torch.nn.Parameter(torch.zeros(wide * slots, RANK))
        if not fresh:
            torch.nn.init.normal_(self.lora_B, 0.0, 0.1, generator=draw)

    def forward(self, x):
        wide = x.shape[-1]
        slots = sum(name is not None for name in ON)
        delta = F.conv1d(self.lora_A[None], self.lora_B[..., None], groups=slots)[0].view(slots, wide, wide)
        parts = iter(delta)
        update = torch.cat([torch.zeros(wide, wide) if name is None else next(parts) for name in ON])
        return self.conv(x) + F.linear(x, update) * (ALPHA / RANK)

    def split(self, tensor, rows):
        return {name: tensor[i * rows:(i + 1) * rows] for i, name in enumerate(n for n in ON if n)}


def lora(fresh):
    model = base()
    for p in model.parameters():
        p.requires_grad = False
    draw = torch.Generator().manual_seed(32)
    for block in model.transformer.h:
        block.attn.c_attn = Merged(block.attn.c_attn, fresh, draw)
    return model


def named(model, value):
    """What `value` takes of each trained parameter, under the names and in the layout of this project."""
    found = {}
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        owner = model.get_submodule(name.rpartition(".")[0])
        if isinstance(owner, Merged):
            rows = RANK if name.endswith("lora_A") else owner.conv.weight.shape[0]
            for slot, part in owner.split(value(p), rows).items():
                module, factor = name.rsplit(".", 1)
                found[f"{module}.{slot}.{factor}.weight"] = part.detach().contiguous().clone()
        else:
            conv = isinstance(owner, transformers.pytorch_utils.Conv1D) and name.endswith("weight")
            found[name] = (value(p).t() if conv else value(p)).detach().contiguous().clone()
    return found


def make_batches():
    rng = random.Random(33)
    ids = lambda low, high: [rng.randrange(END) for _ in range(rng.randint(low, high))]
    batches = []
    for index in range(STEPS):
        rows = [dict(prompt=ids(1, 12), completion=ids(1, 14)) for _ in range(4)]
        if index == 0:
            rows[1] = dict(prompt=ids(20, 20), completion=ids(30, 30))  # cut at MAX_LEN: its end is not scored
            rows[2] = dict(prompt=ids(1, 1), completion=[])
        batches.append(rows)
    return batches


def forward(model, batch):
    """Scores at the scored tokens and what is wanted there."""
    rows = [(r["prompt"] + [END] + r["completion"] + [END])[:MAX_LEN] for r in batch]
    width = max(map(len, rows))
    fill = lambda rows, value: torch.tensor([row + [value] * (width - len(row)) for row in rows])
    logits = model(input_ids=fill(rows, 0), attention_mask=fill([[1] * len(row) for row in rows], 0)).logits
    scored = fill([[0] * len(r["prompt"]) + [1] * (len(row) - len(r["prompt"]) - 1) for r, row in zip(batch, rows)], 0).bool()
    return logits[scored], fill([row[1:] for row in rows], 0)[scored]


def loss_of(scores, wanted):
    minus = -F.log_softmax(scores, -1)
    each = (1 - SMOOTHING) * minus.gather(1, wanted[:, None])[:, 0] + SMOOTHING * minus.mean(-1)
    return each.sum() / (len(wanted) + 0.0001)


def measure(method, model, batch, tensors, losses):
    scores, wanted = forward(model, batch)
    loss = loss_of(scores, wanted)
    loss.backward()
    losses[method] = loss.item()
    tensors[f"{method}/logits"] = scores.detach().contiguous()
    tensors |= {f"{method}/grad/{name}": grad for name, grad in named(model, lambda p: p.grad).items()}
    return tensors


def curve(model, batches, lr):
    params = [(n, p) for n, p in model.named_parameters() if p.requires_grad]
    plain = lambda n: n.endswith("bias") or ".ln_" in n
    groups = [{"params": [p for n, p in params if not plain(n)], "weight_decay": RECIPE["weight_decay"]},
              {"params": [p for n, p in params if plain(n)], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=tuple(RECIPE["betas"]), eps=RECIPE["eps"])
    warm = math.ceil(RECIPE["warmup"] * STEPS)
    factor = lambda s: s / warm if s < warm else (STEPS - s) / (STEPS - warm)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    losses = []
    for batch in batches:
        loss = loss_of(*forward(model, batch))
        loss.backward()
        losses.append(loss.item())
        optimiser.step()
        schedule.step()
        optimiser.zero_grad(set_to_none=True)
    return losses


def settings():
    """What generate is asked for; without `beams`: greedy."""
    for ngram in (0, 2, 3):
        yield dict(no_repeat_ngram=ngram)
    for beams, penalty, ngram, early in itertools.product((2, 5), (0.0, 0.8, 1.0, 2.0), (0, 2, 4), (False, True)):
        yield dict(beams=beams, length_penalty=penalty, no_repeat_ngram=ngram, early_stopping=early)
    yield dict(beams=3, length_penalty=-1.0, no_repeat_ngram=3, early_stopping=False)
    yield dict(beams=10, length_penalty=0.9, no_repeat_ngram=4, early_stopping=False)


def write(model, rows, setting, new):
    """What is written behind each of `rows`, in one batch padded on the left."""
    width = max(map(len, rows))
    ids = torch.tensor([[END] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    beams = dict(num_beams=setting["beams"], length_penalty=setting["length_penalty"], early_stopping=setting["early_stopping"],
                 output_scores=True) if "beams" in setting else {}
    out = model.generate(ids, attention_mask=mask, max_new_tokens=new, do_sample=False, pad_token_id=END,
                         eos_token_id=ENDS, no_repeat_ngram_size=setting["no_repeat_ngram"], return_dict_in_generate=True,
                         **beams)
    rows = [row[width:].tolist() for row in out.sequences]
    ends = [min((row.index(end) + 1 for end in ENDS if end in row), default=new) for row in rows]
    return [row[:end] for row, end in zip(rows, ends)], out.sequences_scores.tolist() if beams else None


def generate(model):
    rng = random.Random(34)
    prompts = [[rng.randrange(END) for _ in range(n)] for n in (1, 9, 3, 17, 3, 6, 12, 2)]
    new, cases = 18, []
    for setting in settings():
        tokens, scores = [], []
        for prompt in prompts:
            texts, numbers = write(model, [prompt], setting, new)
            tokens += texts
            scores += numbers or []
        if setting["no_repeat_ngram"] == 0:  # the padding's own n-grams count in a padded batch
            assert write(model, prompts, setting, new)[0] == tokens, setting
        cases.append(setting | dict(tokens=tokens) | (dict(scores=scores) if scores else {}))
    lengths = [len(text) for case in cases for text in case["tokens"]]
    print(f"{len(cases)} settings, {len(prompts)} prompts; {sum(n < new for n in lengths)} of {len(lengths)} texts end early")
    return dict(prompts=prompts, end=ENDS, max_new_tokens=new, cases=cases)


def samples():
    scores = torch.randn(3, VOCAB, generator=torch.Generator().manual_seed(35)) * 2
    every = [dict(temperature=t, top_k=k, top_p=p) for t, k, p in
             ((1.0, None, None), (0.7, None, None), (1.0, 5, None), (1.0, None, 0.6), (1.3, 20, 0.8), (0.5, 1, None), (1.0, None, 0.01))]
    tensors = {"scores": scores}
    for i, setting in enumerate(every):
        left = logits_process.TemperatureLogitsWarper(setting["temperature"])(None, scores) if setting["temperature"] != 1.0 else scores
        left = logits_process.TopKLogitsWarper(setting["top_k"])(None, left) if setting["top_k"] else left
        left = logits_process.TopPLogitsWarper(setting["top_p"])(None, left) if setting["top_p"] else left
        tensors[f"left/{i}"] = left.softmax(-1)
    return every, tensors


def save(name, value):
    with open(os.path.join(OUT, name), "w") as f:
        json.dump(value, f, separators=(",", ":"))
        f.write("\n")


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    os.makedirs(OUT, exist_ok=True)
    base().save_pretrained(OUT)
    os.remove(os.path.join(OUT, "generation_config.json"))
    batches, losses, tensors = make_batches(), {}, {}
    save("batches.json", batches)
    for folder, fresh in (("adapter", False), ("adapter_init", True)):
        os.makedirs(os.path.join(OUT, folder), exist_ok=True)
        save_file(named(lora(fresh), lambda p: p), os.path.join(OUT, folder, "adapter_model.safetensors"))
    measure("full", base(), batches[0], tensors, losses)
    measure("lora", lora(False), batches[0], tensors, losses)
    save_file(tensors, os.path.join(OUT, "expected.safetensors"))
    curves = {"lora": curve(lora(True), batches, RECIPE["lr"]["lora"]), "full": curve(base(), batches, RECIPE["lr"]["full"])}
    for method, numbers in curves.items():
        print(f"{method:5} {numbers[0]:.6f} -> {numbers[-1]:.6f}")
    save("expected.json", dict(loss=losses, curves=curves, recipe=RECIPE | dict(smoothing=SMOOTHING)))
    save("generate.json", generate(base()))
    every, tensors = samples()
    save("sample.json", every)
    save_file(tensors, os.path.join(OUT, "sample.safetensors"))


if __name__ == "__main__":
    main()
