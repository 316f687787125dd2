#!/usr/bin/env python3
"""Writes golden/decoder/NAME: what transformers' Llama and Qwen2 compute, train and write, alone and under PEFT's LoRA.

  pip install torch==2.11.0 transformers peft safetensors
  make_decoder_golden.py

  llama3   Llama: llama3 rope scaling, a head of its own, fewer heads of keys than of queries, heads of another width, biases
  linear   Llama: linear rope scaling, no biases, tied; config.json in the spelling of transformers 4
  qwen2    Qwen2: biases of query, key and value, tied

  config.json model.safetensors   the model, every parameter re-drawn
  batches.json                    20 ragged batches of prompts and completions (ids without the end token between and behind them)
  adapter/ adapter_init/          PEFT's LoRA with B random and B = 0
  expected.json                   losses of batch 0, the recipe and the loss curves: one loss a batch, in order
  expected.safetensors            METHOD/logits at the scored tokens of batch 0, and METHOD/grad/NAME
  generate.json                   prompts, and what transformers' generate writes for each (greedy and beams), alone in its batch

and golden/decoder/rotary.json: cosines and sines of one head, by the configurations of published models, far into a text.

The loss is the mean over the scored tokens of a batch. Everything is fp32, eager attention, one thread, dropout 0.
"""
import json
import math
import os
import random

import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from torch.nn import functional as F

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden", "decoder")
END, VOCAB, STEPS, MAX_LEN = 60, 61, 20, 40
ENDS = [16, 23, 31]
RECIPE = dict(betas=[0.9, 0.999], eps=1e-6, weight_decay=0.01, warmup=0.1, lr=dict(lora=1e-2, full=1e-3))
SHAPE = dict(vocab_size=VOCAB, hidden_size=24, intermediate_size=28, num_hidden_layers=2, num_attention_heads=4,
             max_position_embeddings=64, eos_token_id=END, bos_token_id=END, attn_implementation="eager")
LLAMA3 = dict(rope_type="llama3", rope_theta=500.0, factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
              original_max_position_embeddings=32)
MODELS = {
    "llama3": lambda: transformers.LlamaConfig(**SHAPE, num_key_value_heads=2, head_dim=8, rope_parameters=LLAMA3, rms_norm_eps=1e-5,
                                               tie_word_embeddings=False, attention_bias=True, mlp_bias=True),
    "linear": lambda: transformers.LlamaConfig(**SHAPE, num_key_value_heads=1, rope_theta=100.0, hidden_act="gelu",
                                               rope_scaling=dict(type="linear", factor=2.5), tie_word_embeddings=True),
    "qwen2": lambda: transformers.Qwen2Config(**SHAPE, num_key_value_heads=2, rope_theta=1000.0, tie_word_embeddings=True),
}
LORA = dict(r=3, lora_alpha=7, task_type="CAUSAL_LM",
            target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])


def base(name):
    config = MODELS[name]()
    config._attn_implementation = "eager"
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager").eval()
    draw = torch.Generator().manual_seed(41)
    with torch.no_grad():
        for key, p in model.named_parameters():
            norm = "norm" in key
            p.normal_(1.0 if norm else 0.0, 0.3 if "embed" in key or "lm_head" in key else 0.2, generator=draw)
    return model


def lora(name, fresh):
    model = get_peft_model(base(name), LoraConfig(**LORA))
    draw = torch.Generator().manual_seed(42)
    with torch.no_grad():
        for key, p in model.named_parameters():
            if "lora_A" in key:
                p.normal_(0.0, 0.2, generator=draw)
            if "lora_B" in key and not fresh:
                p.normal_(0.0, 0.1, generator=draw)
    return model


def plain_name(name):
    return name.removeprefix("base_model.model.").replace(".default", "")


def trained(model):
    return [(plain_name(n), p) for n, p in model.named_parameters() if p.requires_grad]


def make_batches():
    rng = random.Random(43)
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
    """Scores at the scored tokens and what is wanted there; rows are padded on the right."""
    rows = [(r["prompt"] + [END] + r["completion"] + [END])[:MAX_LEN] for r in batch]
    width = max(map(len, rows))
    fill = lambda rows, value: torch.tensor([row + [value] * (width - len(row)) for row in rows])
    logits = model(input_ids=fill(rows, 0), attention_mask=fill([[1] * len(row) for row in rows], 0)).logits
    scored = fill([[0] * len(r["prompt"]) + [1] * (len(row) - len(r["prompt"]) - 1) for r, row in zip(batch, rows)], 0).bool()
    return logits[scored], fill([row[1:] for row in rows], 0)[scored]


def measure(method, model, batch, tensors, losses):
    scores, wanted = forward(model, batch)
    loss = F.cross_entropy(scores, wanted)
    loss.backward()
    losses[method] = loss.item()
    tensors[f"{method}/logits"] = scores.detach().contiguous()
    tensors |= {f"{method}/grad/{name}": p.grad.contiguous() for name, p in trained(model)}
    return tensors


def curve(model, batches, lr):
    params = trained(model)
    plain = lambda n: n.endswith("bias") or "norm" in n
    groups = [{"params": [p for n, p in params if not plain(n)], "weight_decay": RECIPE["weight_decay"]},
              {"params": [p for n, p in params if plain(n)], "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW([g for g in groups if g["params"]], lr=lr, betas=tuple(RECIPE["betas"]), eps=RECIPE["eps"])
    warm = math.ceil(RECIPE["warmup"] * STEPS)
    factor = lambda s: s / warm if s < warm else (STEPS - s) / (STEPS - warm)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, factor)
    losses = []
    for batch in batches:
        loss = F.cross_entropy(*forward(model, batch))
        loss.backward()
        losses.append(loss.item())
        optimiser.step()
        schedule.step()
        optimiser.zero_grad(set_to_none=True)
    return losses


def generate(model):
    rng = random.Random(44)
    prompts = [[rng.randrange(END) for _ in range(n)] for n in (1, 9, 3, 17, 6, 12)]
    new, cases = 18, []
    for setting in (dict(), dict(beams=3), dict(beams=5)):
        beams = dict(num_beams=setting["beams"], early_stopping=False) if setting else {}
        tokens = []
        for prompt in prompts:
            ids = torch.tensor([prompt])
            out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False, pad_token_id=0,
                                 eos_token_id=ENDS, **beams)[0, len(prompt):].tolist()
            end = min((out.index(end) + 1 for end in ENDS if end in out), default=new)
            tokens.append(out[:end])
        cases.append(setting | dict(tokens=tokens))
    lengths = [len(text) for case in cases for text in case["tokens"]]
    print(f"{sum(n < new for n in lengths)} of {len(lengths)} texts end early; {sorted(set(sum(cases[0]['tokens'], [])))}")
    return dict(prompts=prompts, end=ENDS, max_new_tokens=new, cases=cases)


def rotary():
    """Cosines and sines `[position, width / 2]` of each configuration."""
    llama3 = dict(rope_type="llama3", factor=32.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=8192)
    sizes = dict(hidden_size=64, num_attention_heads=1, max_position_embeddings=131072)
    positions, cases = [0, 1, 17, 1000, 8191, 32767, 131071], []
    for rope in (dict(rope_theta=10000.0, rope_type="default"), dict(rope_theta=1000000.0, rope_type="default"),
                 dict(rope_theta=100000.0, rope_type="linear", factor=4.0), dict(rope_theta=500000.0, **llama3)):
        config = transformers.LlamaConfig(**sizes, rope_parameters=dict(rope))
        turn = transformers.models.llama.modeling_llama.LlamaRotaryEmbedding(config)
        cos, sin = (t[0, :, :32].tolist() for t in turn(torch.zeros(1), torch.tensor([positions])))
        cases.append(dict(rope=rope, cos=cos, sin=sin))
    return dict(positions=positions, cases=cases)


def save(out, name, value):
    with open(os.path.join(out, name), "w") as f:
        json.dump(value, f, separators=(",", ":"))
        f.write("\n")


def rewrite(path, change):
    with open(path) as f:
        config = change(json.load(f))
    with open(path, "w") as f:
        json.dump(config, f, indent=2)
        f.write("\n")


def old_spelling(config):
    """config.json as transformers 4 wrote it: `rope_theta`, and `rope_scaling` with `type`, beside each other."""
    rope = config.pop("rope_parameters")
    return config | dict(rope_theta=rope["rope_theta"], rope_scaling=dict(type=rope["rope_type"], factor=rope["factor"]))


def make(name, batches):
    out, losses, tensors = os.path.join(OUT, name), {}, {}
    os.makedirs(out, exist_ok=True)
    base(name).save_pretrained(out)
    os.remove(os.path.join(out, "generation_config.json"))
    if name == "linear":
        rewrite(os.path.join(out, "config.json"), old_spelling)
    again = transformers.AutoModelForCausalLM.from_pretrained(out, attn_implementation="eager").eval()
    assert torch.equal(forward(again, batches[0])[0], forward(base(name), batches[0])[0])
    save(out, "batches.json", batches)
    for folder, fresh in (("adapter", False), ("adapter_init", True)):
        model = lora(name, fresh)
        model.peft_config["default"].base_model_name_or_path = None
        model.save_pretrained(os.path.join(out, folder))
        os.remove(os.path.join(out, folder, "README.md"))
        rewrite(os.path.join(out, folder, "adapter_config.json"), lambda c: c | dict(target_modules=sorted(c["target_modules"])))
    measure("full", base(name), batches[0], tensors, losses)
    measure("lora", lora(name, False), batches[0], tensors, losses)
    save_file(tensors, os.path.join(out, "expected.safetensors"))
    curves = {"lora": curve(lora(name, True), batches, RECIPE["lr"]["lora"]), "full": curve(base(name), batches, RECIPE["lr"]["full"])}
    for method, numbers in curves.items():
        print(f"{name} {method:5} {numbers[0]:.6f} -> {numbers[-1]:.6f}")
    save(out, "expected.json", dict(loss=losses, curves=curves, recipe=RECIPE))
    save(out, "generate.json", generate(lora(name, False)))


def main():
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    batches = make_batches()
    for name in MODELS:
        make(name, batches)
    save(OUT, "rotary.json", rotary())


if __name__ == "__main__":
    main()
