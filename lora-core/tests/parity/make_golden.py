#!/usr/bin/env python3
"""Writes the golden files of the parity tests: what transformers and PEFT compute for tiny encoders.

  pip install torch==2.11.0 transformers peft safetensors
  make_golden.py [--only NAME,...] [OUT]          (default: all, into golden/ beside this file)

For each NAME of MODELS (`roberta`, `bert`, `deberta_v2` as v2-xxlarge, `deberta_v3` as v3-base, `deberta_own` with projections
of its own for positions, a row for every distance, and segments) the folder OUT/NAME holds

  config.json model.safetensors   the model, every parameter re-drawn (see `randomise`), 3 labels
  batches.json                    20 ragged batches: input_ids, token_type_ids, labels (classes), float_labels
  adapter/ adapter_all/           PEFT adapters whose B is not zero and whose head is not the base's
  adapter_init/                   a fresh PEFT adapter (B = 0, head = the base's): the start of the LoRA curves
  regression/                     the same encoder with one output, and its own adapter_init/
  expected.json                   losses of batch 0, the recipe and the loss curves: one loss a batch, in order
  expected.safetensors            METHOD/logits and METHOD/grad/NAME of batch 0

Gradients are keyed by the model's own parameter names. A LoRA factor is named after its linear as in a saved
adapter, without PEFT's `base_model.model.` prefix: `...attention.self.query.lora_A.weight`; so is the trained head.
`lora_accumulate2_smooth0.1` makes 10 steps of two batches each (half of either loss) with label smoothing 0.1; every other
curve makes a step a batch. Warm-up lasts ceil(0.06 * steps) steps and the first step's factor is 0.
Everything is fp32, eager attention, one thread, dropout 0.
"""
import argparse
import json
import math
import os
import random
import shutil
import sys

import peft
import safetensors
import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch.nn import functional as F

STEPS = 20
ROWS = 5
LENGTHS = (3, 40)
SHAPE = dict(hidden_size=32, num_hidden_layers=3, num_attention_heads=4, num_labels=3, attn_implementation="eager",
             hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
RECIPE = dict(betas=[0.9, 0.999], eps=1e-8, weight_decay=0.1, warmup=0.06, clip=1.0)
LEARNING_RATE = dict(lora=1e-3, bitfit=1e-3, full=1e-4)
SMOOTHING, ACCUMULATION = 0.1, 2
LORA = dict(r=4, lora_alpha=6)
LORA_ALL = dict(r=3, lora_alpha=7)


def roberta(labels):
    """RoBERTa numbers its positions from padding_idx + 1 = 2: 66 rows are 64 usable positions."""
    config = transformers.RobertaConfig(vocab_size=120, intermediate_size=48, max_position_embeddings=66, type_vocab_size=1,
                                        layer_norm_eps=1e-5, **{**SHAPE, "num_labels": labels})
    return transformers.RobertaForSequenceClassification(config)


def bert(labels):
    config = transformers.BertConfig(vocab_size=110, intermediate_size=56, max_position_embeddings=64, type_vocab_size=2,
                                     layer_norm_eps=1e-12, **{**SHAPE, "num_labels": labels})
    return transformers.BertForSequenceClassification(config)


def deberta(**options):
    def build(labels):
        config = transformers.DebertaV2Config(
            **{**SHAPE, "num_labels": labels, "vocab_size": 100, "intermediate_size": 44, "max_position_embeddings": 40,
               "type_vocab_size": 0, "layer_norm_eps": 1e-7, "relative_attention": True, "position_biased_input": False,
               "pos_att_type": "p2c|c2p", "pooler_hidden_size": 32, "pooler_dropout": 0, "cls_dropout": 0.0, **options})
        return transformers.DebertaV2ForSequenceClassification(config)
    return build


# The longest rows reach far past the middle of the buckets.
PUBLISHED = dict(share_att_key=True, norm_rel_ebd="layer_norm", position_buckets=12)

# name -> (constructor, modules of the head, seed, the names of query, key and value)
BERT_NAMES = ("query", "key", "value")
DEBERTA_NAMES = ("query_proj", "key_proj", "value_proj")
MODELS = {
    "roberta": (roberta, ["classifier"], 11, BERT_NAMES),
    "bert": (bert, ["classifier", "pooler"], 12, BERT_NAMES),
    "deberta_v2": (deberta(conv_kernel_size=3, conv_act="gelu", **PUBLISHED), ["classifier", "pooler"], 13, DEBERTA_NAMES),
    "deberta_v3": (deberta(**PUBLISHED), ["classifier", "pooler"], 14, DEBERTA_NAMES),
    "deberta_own": (deberta(share_att_key=False, type_vocab_size=2), ["classifier", "pooler"], 15, DEBERTA_NAMES),
}


def randomise(module, seed):
    """Re-draws every parameter, so that no bias is zero, no LayerNorm an identity and no term can be left out unseen."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if name.endswith("LayerNorm.weight"):
                p.normal_(1.0, 0.2, generator=draw)
            else:
                p.normal_(0.0, 0.2 if name.endswith("bias") else 0.15, generator=draw)


def make_batches(config, seed):
    rng = random.Random(seed)
    batches = []
    for index in range(STEPS):
        lengths = [rng.randint(*LENGTHS) for _ in range(ROWS)]
        if index == 0:
            lengths[1], lengths[3] = LENGTHS  # both extremes in the batch whose gradients are compared
        # Ids from 3 up: never the pad id (1 or 0), which both models treat apart.
        ids = [[rng.randrange(3, config.vocab_size) for _ in range(n)] for n in lengths]
        types = [[0] * n for n in lengths]
        if config.type_vocab_size > 1:
            cuts = [rng.randint(1, n - 1) for n in lengths]
            types = [[0] * cut + [1] * (n - cut) for n, cut in zip(lengths, cuts)]
        labels = [rng.randrange(SHAPE["num_labels"]) for _ in lengths]
        floats = [round(rng.uniform(0.0, 5.0), 3) for _ in lengths]
        batches.append(dict(input_ids=ids, token_type_ids=types, labels=labels, float_labels=floats))
    return batches


def forward(model, batch, pad):
    """Logits [rows, labels] of the batch padded to its longest row, with an attention mask."""
    width = max(map(len, batch["input_ids"]))
    fill = lambda rows, value: torch.tensor([row + [value] * (width - len(row)) for row in rows])
    mask = fill([[1] * len(row) for row in batch["input_ids"]], 0)
    return model(input_ids=fill(batch["input_ids"], pad), attention_mask=mask,
                 token_type_ids=fill(batch["token_type_ids"], 0)).logits


def loss_of(logits, batch, smoothing):
    if logits.shape[-1] == 1:
        return F.mse_loss(logits.squeeze(-1), torch.tensor(batch["float_labels"]))
    return F.cross_entropy(logits, torch.tensor(batch["labels"]), label_smoothing=smoothing)


def plain_name(name):
    """PEFT's name of a trained parameter without its wrappers."""
    return name.removeprefix("base_model.model.").replace(".modules_to_save.default", "").replace(".default", "")


def trained(model):
    return [(plain_name(n), p) for n, p in model.named_parameters() if p.requires_grad]


def decays(name):
    return not (name.endswith("bias") or "LayerNorm" in name)


def curve(model, batches, lr, accumulation=1, smoothing=0.0):
    """Loss of every batch in order, before the step it contributes to; one optimiser step per `accumulation` batches."""
    pad = model.config.pad_token_id
    params = trained(model)
    groups = [{"params": [p for n, p in params if decays(n)], "weight_decay": RECIPE["weight_decay"]},
              {"params": [p for n, p in params if not decays(n)], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=tuple(RECIPE["betas"]), eps=RECIPE["eps"])
    steps = len(batches) // accumulation
    warm = math.ceil(RECIPE["warmup"] * steps)
    factor = lambda s: s / max(1, warm) if s < warm else max(0.0, (steps - s) / max(1, steps - warm))
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    losses = []
    for index, batch in enumerate(batches):
        loss = loss_of(forward(model, batch, pad), batch, smoothing)
        (loss / accumulation).backward()
        losses.append(loss.item())
        if (index + 1) % accumulation == 0:
            torch.nn.utils.clip_grad_norm_([p for _, p in params], RECIPE["clip"])
            optimiser.step()
            schedule.step()
            optimiser.zero_grad(set_to_none=True)
    return losses


class Case:
    """One architecture: builds its variants and collects what they compute."""

    def __init__(self, name, out):
        self.name, self.dir = name, os.path.join(out, name)
        self.build, self.head, self.seed, (query, key, value) = MODELS[name]
        self.some = dict(LORA, target_modules=[query, value])
        self.all = dict(LORA_ALL, target_modules=[query, key, value, "attention.output.dense", "intermediate.dense",
                                                  "output.dense"])
        self.batches = make_batches(self.build(3).config, self.seed)
        self.tensors, self.expected = {}, {"loss": {}, "curves": {}, "recipe": {**RECIPE, "lr": LEARNING_RATE}}

    def base(self, labels=3):
        """The dense model; the encoder is the same for any number of labels, since the head is drawn apart."""
        model = self.build(labels).eval()
        randomise(model.base_model, self.seed)
        randomise(model.classifier, self.seed + 100)
        if hasattr(model, "pooler"):
            randomise(model.pooler, self.seed + 200)
        return model

    def lora(self, options, seed, fresh, labels=3):
        torch.manual_seed(seed)
        model = get_peft_model(self.base(labels), LoraConfig(lora_dropout=0.0, bias="none", task_type="SEQ_CLS",
                                                             modules_to_save=list(self.head), **options)).eval()
        if not fresh:
            draw = torch.Generator().manual_seed(seed)
            with torch.no_grad():
                for name, p in trained(model):
                    if "lora_A" not in name:
                        p.normal_(0.0, 0.1, generator=draw)
        return model

    def bitfit(self):
        model = self.base()
        for name, p in model.named_parameters():
            p.requires_grad = name.endswith("bias") or any(part in self.head for part in name.split("."))
        return model

    def save_adapter(self, model, *folder):
        path = os.path.join(self.dir, *folder)
        model.save_pretrained(path)
        os.remove(os.path.join(path, "README.md"))
        file = os.path.join(path, "adapter_config.json")
        with open(file) as f:
            config = json.load(f)
        config["target_modules"].sort()  # PEFT keeps a set: without this the file changes from run to run
        write_json(file, config)

    def measure(self, method, model):
        """Logits, loss and gradients of batch 0."""
        batch = self.batches[0]
        logits = forward(model, batch, model.config.pad_token_id)
        loss = loss_of(logits, batch, 0.0)
        loss.backward()
        self.expected["loss"][method] = loss.item()
        self.tensors[f"{method}/logits"] = logits.detach().contiguous()
        for name, p in trained(model):
            self.tensors[f"{method}/grad/{name}"] = p.grad.contiguous()

    def run(self):
        shutil.rmtree(self.dir, ignore_errors=True)
        self.base().save_pretrained(self.dir)
        self.base(1).save_pretrained(os.path.join(self.dir, "regression"))
        write_json(os.path.join(self.dir, "batches.json"), self.batches)
        variants = {"full": self.base, "bitfit": self.bitfit, "lora": lambda: self.lora(self.some, 1, fresh=False),
                    "lora_all": lambda: self.lora(self.all, 2, fresh=False)}
        for method, variant in variants.items():
            self.measure(method, variant())
        self.save_adapter(variants["lora"](), "adapter")
        self.save_adapter(variants["lora_all"](), "adapter_all")
        fresh = lambda labels=3: self.lora(self.some, 3, fresh=True, labels=labels)
        self.save_adapter(fresh(), "adapter_init")
        self.save_adapter(fresh(1), "regression", "adapter_init")
        lr, curves = LEARNING_RATE, self.expected["curves"]
        curves["lora"] = curve(fresh(), self.batches, lr["lora"])
        curves["bitfit"] = curve(self.bitfit(), self.batches, lr["bitfit"])
        curves["full"] = curve(self.base(), self.batches, lr["full"])
        curves["lora_accumulate2_smooth0.1"] = curve(fresh(), self.batches, lr["lora"], ACCUMULATION, SMOOTHING)
        curves["lora_regression"] = curve(fresh(1), self.batches, lr["lora"])
        write_json(os.path.join(self.dir, "expected.json"), self.expected)
        save_file(self.tensors, os.path.join(self.dir, "expected.safetensors"))
        for method, losses in curves.items():
            print(f"{self.name:8} {method:28} {losses[0]:.6f} -> {losses[-1]:.6f}")


def write_json(path, value):
    with open(path, "w") as f:
        json.dump(value, f, separators=(",", ":"))
        f.write("\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", default=os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden"))
    parser.add_argument("--only", help="names, comma-separated")
    args = parser.parse_args()
    out = args.out
    torch.set_num_threads(1)
    for name in args.only.split(",") if args.only else MODELS:
        Case(name, out).run()
    versions = {m.__name__: m.__version__ for m in (torch, transformers, peft, safetensors)}
    write_json(os.path.join(out, "versions.json"), {"python": sys.version.split()[0], **versions})


if __name__ == "__main__":
    main()
