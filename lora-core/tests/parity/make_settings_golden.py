#!/usr/bin/env python3
"""Writes golden/settings: bans on words as transformers' generate has them, and prefix tuning as PEFT has it.

  pip install torch==2.11.0 transformers peft==0.21.0 safetensors
  make_settings_golden.py       (after make_gpt2_golden.py, whose model it reads)

  bad_words.json      settings, and what transformers writes behind each of the prompts of gpt2/generate.json
  prefix.safetensors  var/NAME: keys and values drawn at random; logits: what PEFT's PrefixTuning with them computes at the scored
                      tokens of batch 0, row by row (PEFT has none for encoders with today's transformers)

Everything is fp32, eager attention, one thread, dropout 0.
"""
import json
import os
import warnings

import peft
import torch
import transformers
from safetensors.torch import save_file

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
OUT = os.path.join(HERE, "settings")
N, MAX_LEN, END = 3, 40, 96
WORDS = [[[30]], [[3], [89]], [[18], [30, 30], [30, 0, 3]]]


def read(*path):
    with open(os.path.join(HERE, *path)) as f:
        return json.load(f)


def bad_words():
    model = transformers.GPT2LMHeadModel.from_pretrained(os.path.join(HERE, "gpt2"), attn_implementation="eager").eval()
    asked = read("gpt2", "generate.json")
    prompts, ends, new, cases = asked["prompts"], asked["end"], asked["max_new_tokens"], []
    for words in WORDS:
        for beams, ngram in ((1, 0), (1, 2), (4, 0), (4, 3)):
            texts = []
            for prompt in prompts:
                ids = torch.tensor([prompt])
                out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=new, do_sample=False, pad_token_id=END,
                                     eos_token_id=ends, no_repeat_ngram_size=ngram, bad_words_ids=words, num_beams=beams,
                                     length_penalty=1.0, early_stopping=False)
                text = out[0][len(prompt):].tolist()
                end = min((text.index(e) + 1 for e in ends if e in text), default=new)
                texts.append(text[:end])
            cases.append(dict(bad_words=words, beams=beams, no_repeat_ngram=ngram, tokens=texts))
    return cases


def prefix():
    base = transformers.GPT2LMHeadModel.from_pretrained(os.path.join(HERE, "gpt2"), attn_implementation="eager").eval()
    config = peft.PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=N, prefix_projection=False)
    model = peft.get_peft_model(base, config).eval()
    table = model.prompt_encoder["default"].embedding.weight
    with torch.no_grad():
        table.normal_(0.0, 0.5, generator=torch.Generator().manual_seed(41))
    width, tensors = base.config.n_embd, {}
    for i in range(base.config.n_layer):
        for j, part in enumerate(("key", "value")):
            at = (2 * i + j) * width
            tensors[f"var/transformer.h.{i}.prefix.{part}"] = table[:, at:at + width].detach().clone()
    answers = []
    with torch.no_grad():
        for row in read("gpt2", "batches.json")[0]:
            ids = (row["prompt"] + [END] + row["completion"] + [END])[:MAX_LEN][:-1]
            scored = len(row["prompt"])
            logits = model(input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long)).logits[0]
            answers.append(logits[scored:])
    tensors["logits"] = torch.cat(answers)
    return tensors


def main():
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    transformers.logging.set_verbosity_error()
    os.makedirs(OUT, exist_ok=True)
    with open(os.path.join(OUT, "bad_words.json"), "w") as f:
        json.dump(bad_words(), f, separators=(",", ":"))
        f.write("\n")
    save_file({k: v.contiguous() for k, v in prefix().items()}, os.path.join(OUT, "prefix.safetensors"))


if __name__ == "__main__":
    main()
