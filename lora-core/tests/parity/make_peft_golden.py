#!/usr/bin/env python3
"""Writes golden/peft: DoRA and prefix tuning as PEFT computes them, on the small RoBERTa and GPT-2.

  pip install torch==2.11.0 transformers peft==0.21.0 safetensors
  make_peft_golden.py        (after make_golden.py and make_gpt2_golden.py, whose models it reads)

alpha differs from r, B is not zero, and the rows are of unlike length. PEFT's length of a weight's rows is written as this
project keeps it, a factor of the pretrained length. PEFT lets a row's positions begin behind the prefix's; here PEFT's keys and
values are handed to transformers with positions from 0. RoBERTa has no prefix here: transformers 5 gives its encoders no
place for keys and values; make_adapters_golden.py has one.
"""
import peft
import torch

from reference_models import base, prefixes, randomise, record, save

R, ALPHA, PREFIX, MLP = 3, 5.0, 3, 7
TARGETS = {
    "roberta": (["query", "value", "intermediate.dense"], "[query, value, ffn_in]", "SEQ_CLS", False),
    "gpt2": (["c_proj", "c_fc"], "[attn_out, ffn_in, ffn_out]", "CAUSAL_LM", True),
}


def dora(name, tensors, methods):
    modules, roles, task, transposed = TARGETS[name]
    config = peft.LoraConfig(r=R, lora_alpha=ALPHA, lora_dropout=0.0, use_dora=True, target_modules=modules, task_type=task, fan_in_fan_out=transposed)
    model = peft.get_peft_model(base(name), config).double().eval()
    own = [(n, p) for n, p in model.named_parameters() if "lora_" in n]
    randomise(own, 1, mean_one=["magnitude"])

    def named():
        found = {}
        for key, p in own:
            layer, _, part = key.removeprefix("base_model.model.").partition(".lora_")
            if part.startswith("magnitude"):
                weight = model.get_submodule("base_model.model." + layer).base_layer.weight
                length = (weight.T if transposed else weight).norm(dim=1)
                found[f"{layer}.lora_gain"] = (p / length, p.grad * length)
            else:
                found[f"{layer}.lora_{part[0]}.weight"] = (p, p.grad)
        return found

    record(tensors, "dora", name, model, named)
    methods["dora"] = "{kind: dora, r: %d, alpha: %g, targets: %s}" % (R, ALPHA, roles)


def prefix_tuning(name, tensors, methods, method, network, shifted):
    more = dict(prefix_projection=True, encoder_hidden_size=MLP) if network else {}
    config = peft.PrefixTuningConfig(num_virtual_tokens=PREFIX, task_type=TARGETS[name][2], **more)
    model = peft.get_peft_model(base(name), config).double().eval()
    own = [(n, p) for n, p in model.named_parameters() if "prompt_encoder" in n]
    randomise(own, 2)
    encoder = model.prompt_encoder["default"]

    def unshifted(input_ids, attention_mask, position_ids):
        past = model.get_prompt(batch_size=len(input_ids))
        mask = torch.cat([torch.ones(len(input_ids), PREFIX, dtype=attention_mask.dtype), attention_mask], 1)
        return model.base_model(input_ids=input_ids, attention_mask=mask, position_ids=position_ids, past_key_values=past)

    def named():
        if not network:
            return prefixes(name, None, None, None, encoder.embedding.weight)
        return prefixes(name, encoder.embedding.weight, encoder.transform[0], encoder.transform[2], None)

    record(tensors, method, name, model if shifted else unshifted, named)
    methods[method] = "{kind: prefix_tuning, prefix: %d, mlp: %s%s}" % (PREFIX, MLP if network else "null", ", shift: true" if shifted else "")


def main():
    torch.set_num_threads(1)
    for name in TARGETS:
        tensors, methods = {}, {}
        dora(name, tensors, methods)
        if name == "gpt2":
            prefix_tuning(name, tensors, methods, "prefix_tuning", network=True, shifted=False)
            prefix_tuning(name, tensors, methods, "prefix_plain", network=False, shifted=False)
        save("peft", name, tensors, methods)


if __name__ == "__main__":
    main()
