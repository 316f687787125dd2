#!/usr/bin/env python3
"""Writes golden/variants: rsLoRA, PiSSA, LoRA+, (IA)³ and VeRA as PEFT computes them, on the small RoBERTa and GPT-2.

  pip install torch==2.11.0 transformers peft==0.21.0 safetensors
  make_variants_golden.py    (after make_golden.py and make_gpt2_golden.py, whose models it reads)

alpha differs from r, B is not zero, factors are not one, layers of several widths share VeRA's matrices, and the rows are of
unlike length.

  variants/MODEL.json, .safetensors   as golden/peft: settings, variables, logits and gradients of batch 0; of PiSSA also the
                                      product B A and the weights of the base at the start (start/..., base/...)
  variants/MODEL-KIND/                the adapter as PEFT saves it, with logits.safetensors: what PEFT answers once it is
                                      loaded again beside the pretrained model
  variants/loraplus.json              the losses of 20 steps on the small RoBERTa with PEFT's optimiser for LoRA+, from
                                      golden/roberta/adapter_init
  variants/schedules.json             factors of the learning rate by transformers' schedules
"""
import json
import math
import os
import shutil

import peft
import torch
import transformers
from peft.optimizers import create_loraplus_optimizer
from safetensors.torch import save_file

import make_golden
from reference_models import HERE, answers, base, randomise, record, save

R, ALPHA, KEY, RATIO = 3, 5.0, 11, 16.0
OUT = os.path.join(HERE, "variants")
TASKS = {"roberta": ("SEQ_CLS", False), "gpt2": ("CAUSAL_LM", True)}
LORA = {"roberta": (["query", "value", "intermediate.dense"], "[query, value, ffn_in]"),
        "gpt2": (["c_proj", "c_fc"], "[attn_out, ffn_in, ffn_out]")}
# The modules of (IA)³, those whose input is scaled, and both by role.
IA3 = {"roberta": (["key", "value", "output.dense"], ["output.dense"],
                   "targets: [key, value, attn_out, ffn_out], feedforward: [attn_out, ffn_out]"),
       "gpt2": (["c_attn", "mlp.c_proj"], ["mlp.c_proj"], "targets: [qkv, ffn_out], feedforward: [ffn_out]")}
# A is sliced for the query, B for the first feed-forward layer and for GPT-2's attention.
VERA = {"roberta": (["query", "intermediate.dense", "output.dense"], "[query, attn_out, ffn_in, ffn_out]"),
        "gpt2": (["c_attn", "c_proj"], "[qkv, attn_out, ffn_out]")}


def config(name, kind):
    task, transposed = TASKS[name]
    common = dict(task_type=task, fan_in_fan_out=transposed)
    if kind == "ia3":
        modules, inputs, roles = IA3[name]
        return peft.IA3Config(target_modules=modules, feedforward_modules=inputs, **common), "{kind: ia3, %s}" % roles
    if kind == "vera":
        modules, roles = VERA[name]
        settings = "{kind: vera, r: %d, d_initial: 0.2, projection_key: %d, targets: %s}" % (R, KEY, roles)
        return peft.VeraConfig(r=R, d_initial=0.2, projection_prng_key=KEY, target_modules=modules, **common), settings
    modules, roles = LORA[name]
    more = dict(init_lora_weights="pissa") if kind == "pissa" else dict(use_rslora=True)
    ours = {"pissa": "init: pissa", "rslora": "rslora: true"}[kind]
    settings = "{kind: lora, r: %d, alpha: %g, %s, targets: %s}" % (R, ALPHA, ours, roles)
    return peft.LoraConfig(r=R, lora_alpha=ALPHA, lora_dropout=0.0, target_modules=modules, **more, **common), settings


def ours(name):
    """The name of PEFT's variable here."""
    return name.removeprefix("base_model.model.").replace(".default", "").replace(".modules_to_save", "")


def start(model, tensors, transposed):
    """What PiSSA makes of the base."""
    for name, layer in model.named_modules():
        if hasattr(layer, "lora_A"):
            a, b, weight = layer.lora_A["default"].weight, layer.lora_B["default"].weight, layer.base_layer.weight
            tensors[f"pissa/start/{ours(name)}"] = (b @ a).detach().float().contiguous()
            tensors[f"pissa/base/{ours(name)}"] = (weight.T if transposed else weight).detach().float().contiguous()


def saved(name, kind, model):
    """The adapter's folder, and the logits of PEFT with it beside a fresh base."""
    folder = os.path.join(OUT, f"{name}-{kind}")
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    os.remove(os.path.join(folder, "README.md"))
    path = os.path.join(folder, "adapter_config.json")
    with open(path) as f:
        settings = json.load(f)
    for key in ("target_modules", "feedforward_modules"):
        if settings.get(key):
            settings[key].sort()  # sets: without this the file changes from run to run
    with open(path, "w") as f:
        json.dump(settings, f, indent=1)
        f.write("\n")
    again = peft.PeftModel.from_pretrained(base(name).float(), folder).double().eval()
    logits = answers(name, again)[0].detach()
    print(f"{name:8} {kind:8} loaded again: {(logits - answers(name, model)[0]).abs().max().item():.1e} apart")
    save_file({"logits": logits.float()}, os.path.join(folder, "logits.safetensors"))


def variant(name, kind, tensors, methods):
    settings, methods[kind] = config(name, kind)
    torch.manual_seed(5)
    model = peft.get_peft_model(base(name).float(), settings).double().eval()
    if kind == "pissa":
        start(model, tensors, TASKS[name][1])
    own = [(n, p) for n, p in model.named_parameters() if p.requires_grad and "modules_to_save" not in n]
    randomise(own, 7, mean_one=["ia3_l"])
    record(tensors, kind, name, model, lambda: {ours(n): (p, p.grad) for n, p in own})
    saved(name, kind, model)


def loraplus():
    """make_golden.py's curve of LoRA with the optimiser of LoRA+."""
    case = make_golden.Case("roberta", HERE)
    recipe, lr = make_golden.RECIPE, make_golden.LEARNING_RATE["lora"]
    model = case.lora(case.some, 3, fresh=True)
    optimiser = create_loraplus_optimizer(model, torch.optim.AdamW, lr=lr, loraplus_lr_ratio=RATIO, betas=tuple(recipe["betas"]),
                                          eps=recipe["eps"], loraplus_weight_decay=recipe["weight_decay"])
    warm = math.ceil(recipe["warmup"] * len(case.batches))
    schedule = transformers.get_linear_schedule_with_warmup(optimiser, warm, len(case.batches))
    losses = []
    for batch in case.batches:
        loss = make_golden.loss_of(make_golden.forward(model, batch, model.config.pad_token_id), batch, 0.0)
        loss.backward()
        losses.append(loss.item())
        torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], recipe["clip"])
        optimiser.step()
        schedule.step()
        optimiser.zero_grad()
    print(f"loraplus {losses[0]:.6f} -> {losses[-1]:.6f}")
    return dict(ratio=RATIO, losses=losses)


def schedules():
    """Factors of steps 0 to `total`."""
    def factors(make, *arguments):
        optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        schedule = make(optimiser, *arguments)
        found = []
        for _ in range(21):
            found.append(schedule.get_last_lr()[0])
            optimiser.step()
            schedule.step()
        return found

    found = []
    for warm in (0, 3):
        found.append(dict(kind="linear", warmup=warm, total=20, factors=factors(transformers.get_linear_schedule_with_warmup, warm, 20)))
        found.append(dict(kind="cosine", warmup=warm, total=20, factors=factors(transformers.get_cosine_schedule_with_warmup, warm, 20)))
        found.append(dict(kind="constant", warmup=warm, total=20, factors=factors(transformers.get_constant_schedule_with_warmup, warm)))
    return found


def write(name, value):
    with open(os.path.join(OUT, name), "w") as f:
        json.dump(value, f, separators=(",", ":"))
        f.write("\n")


def main():
    torch.set_num_threads(1)
    os.makedirs(OUT, exist_ok=True)
    for name in TASKS:
        tensors, methods = {}, {}
        for kind in ("rslora", "pissa", "ia3", "vera"):
            variant(name, kind, tensors, methods)
        save("variants", name, tensors, methods)
    write("loraplus.json", loraplus())
    write("schedules.json", schedules())


if __name__ == "__main__":
    main()
