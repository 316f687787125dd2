#!/usr/bin/env python3
"""Writes golden/forms: adapters of PEFT whose layers differ, or that train more than A and B, on the small models.

  pip install torch==2.11.0 transformers peft==0.21.0 safetensors
  make_forms_golden.py       (after make_golden.py and make_gpt2_golden.py, whose models it reads)

  forms/MODEL-CASE/          the adapter as PEFT saves it, with logits.safetensors: what PEFT answers for batch 0 once it is
                             loaded again beside the pretrained model

alpha differs from r, B is not zero, magnitudes are not those of the pretrained weights, and the rows are of unlike length.
"""
import json
import os
import shutil

import peft
import torch
import transformers
from safetensors.torch import load_file, save_file

import reference_models
from reference_models import CLASSES, HERE, answers, padded, randomise

R, ALPHA = 3, 5.0
OUT = os.path.join(HERE, "forms")
CLASSES["bert"] = transformers.BertForSequenceClassification
TASKS = {"roberta": "SEQ_CLS", "bert": "SEQ_CLS", "gpt2": "CAUSAL_LM"}
QV = ["query", "value"]

# Model, case, and what LoraConfig says beside r and alpha.
CASES = [
    ("roberta", "dora", dict(use_dora=True, target_modules=[*QV, "intermediate.dense"])),
    ("gpt2", "dora", dict(use_dora=True, use_rslora=True, target_modules=["c_attn", "c_fc"])),
    ("bert", "all-linear", dict(target_modules="all-linear")),
    ("bert", "all-linear-dora", dict(target_modules="all-linear", use_dora=True)),
    ("gpt2", "all-linear", dict(target_modules="all-linear")),
    ("roberta", "layers", dict(target_modules=QV, layers_to_transform=[0, 2])),
    ("gpt2", "layers", dict(target_modules=["c_attn"], layers_to_transform=1, layers_pattern="h")),
    ("bert", "layers-dora", dict(target_modules=["key"], layers_to_transform=[2], use_dora=True)),
    ("roberta", "layers-regex", dict(target_modules=r".*layer\.(?!1\b)\d+\.attention\.self\.query")),
    ("bert", "bias-all", dict(target_modules=QV, bias="all")),
    ("gpt2", "bias-all", dict(target_modules=["c_attn"], bias="all")),
    ("roberta", "bias-only", dict(target_modules=QV, bias="lora_only")),
    ("roberta", "bias-dora", dict(target_modules=QV, bias="lora_only", use_dora=True)),
    ("roberta", "patterns", dict(target_modules=[*QV, "intermediate.dense"], rank_pattern={"value": 6, r"layer\.0\.intermediate\.dense": 2},
                                 alpha_pattern={"value": 8, r".*layer\.1\.attention\.self\.query": 2.5})),
    ("roberta", "patterns-rslora", dict(target_modules=QV, use_rslora=True, rank_pattern={"value": 5}, alpha_pattern={"query": 4})),
]


def base(name):
    if name != "bert":
        return reference_models.base(name).float()
    config = CLASSES[name].config_class.from_pretrained(os.path.join(HERE, name))
    config._attn_implementation = "eager"
    model = CLASSES[name](config)
    model.load_state_dict(load_file(os.path.join(HERE, name, "model.safetensors")))
    return model.eval()


def logits(name, model):
    if name != "bert":
        return answers(name, model)[0].detach()
    with open(os.path.join(HERE, name, "batches.json")) as f:
        batch = json.load(f)[0]
    ids, mask = padded(batch["input_ids"], 0)
    types, _ = padded(batch["token_type_ids"], 0)
    return model(input_ids=ids, attention_mask=mask, token_type_ids=types).logits.detach()


def save(name, case, model):
    folder = os.path.join(OUT, f"{name}-{case}")
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "README.md"))
    path = os.path.join(folder, "adapter_config.json")
    with open(path) as f:
        settings = json.load(f)
    if isinstance(settings["target_modules"], list):
        settings["target_modules"].sort()  # a set: without this the file changes from run to run
    with open(path, "w") as f:
        json.dump(settings, f, indent=1)
        f.write("\n")
    again = peft.PeftModel.from_pretrained(base(name), folder).double().eval()
    found = logits(name, again)
    print(f"{name:8} {case:16} loaded again: {(found - logits(name, model)).abs().max().item():.1e} apart, largest {found.abs().max().item():.2f}")
    save_file({"logits": found.float()}, os.path.join(folder, "logits.safetensors"))


def main():
    torch.set_num_threads(1)
    os.makedirs(OUT, exist_ok=True)
    for name, case, options in CASES:
        torch.manual_seed(5)
        settings = peft.LoraConfig(r=R, lora_alpha=ALPHA, lora_dropout=0.0, task_type=TASKS[name], fan_in_fan_out=name == "gpt2", **options)
        model = peft.get_peft_model(base(name), settings).double().eval()
        own = [(n, p) for n, p in model.named_parameters() if p.requires_grad and "modules_to_save" not in n]
        randomise(own, 7, mean_one=["magnitude"])
        save(name, case, model)


if __name__ == "__main__":
    main()
