#!/usr/bin/env python3
"""Writes the golden files of adapters, special tokens, prefixes and DoRA: what a small transformer in plain PyTorch computes.

  pip install torch==2.11.0 safetensors
  make_methods_golden.py        (after make_golden.py and make_gpt2_golden.py, whose models it reads)

The transformer below goes row by row, without padding, batches or modules, so that each method is one line where it acts.
golden/methods/MODEL.json names the methods with their settings; golden/methods/MODEL.safetensors holds for each of them

  NAME/var/...     the method's variables, drawn at random
  NAME/logits      the answers for batch 0 of that model
  NAME/grad/...    the gradients of the loss (mean cross-entropy of batch 0)
"""
import json
import math
import os
import sys

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "golden")
ACTIVATIONS = {"relu": F.relu, "silu": F.silu, "gelu": F.gelu, "gelu_new": lambda x: F.gelu(x, approximate="tanh")}
R, PREFIX, INFIX, MLP, RANK, ALPHA = 5, 3, 2, 7, 3, 5.0
ADAPTER = f"bottleneck: {R}, init: normal, std: 0.02"
METHODS = {
    "adapter_h": "{kind: adapter_h, nonlinearity: silu, layer_norm: false, drop: [], %s}" % ADAPTER,
    "adapter_h_norm": "{kind: adapter_h, nonlinearity: gelu, layer_norm: true, drop: [], %s}" % ADAPTER,
    "adapter_l": "{kind: adapter_l, nonlinearity: relu, layer_norm: true, drop: [], %s}" % ADAPTER,
    "adapter_p": "{kind: adapter_p, nonlinearity: relu, layer_norm: false, drop: [], %s}" % ADAPTER,
    "adapter_d": "{kind: adapter_d, nonlinearity: relu, layer_norm: false, drop: [1], %s}" % ADAPTER,
    "pre_embed": "{kind: pre_embed, prefix: %d, infix: %d}" % (PREFIX, INFIX),
    "pre_layer": "{kind: pre_layer, prefix: %d, infix: %d}" % (PREFIX, INFIX),
    "prefix_tuning": "{kind: prefix_tuning, prefix: %d, mlp: %d}" % (PREFIX, MLP),
    "prefix_plain": "{kind: prefix_tuning, prefix: %d, mlp: null}" % PREFIX,
    "dora": "{kind: dora, r: %d, alpha: %g, targets: [query, value, ffn_in]}" % (RANK, ALPHA),
    "lora+pre_layer": "{kind: lora+pre_layer, lora: {r: %d, alpha: %g, targets: [key, ffn_out]}, pre_layer: {prefix: %d, infix: %d}}"
                      % (RANK, ALPHA, PREFIX, INFIX),
}


class Variables:
    """A method's variables by name, drawn when first asked for; `None` for what the method does not have."""

    def __init__(self, method, seed):
        self.method, self.values = method, {}
        self.draw = torch.Generator().manual_seed(seed)

    def get(self, name, *dims, mean=0.0, std=0.3):
        if name not in self.values:
            self.values[name] = (mean + std * torch.randn(*dims, generator=self.draw)).requires_grad_()
        return self.values[name]

    def adapter(self, place, z, act, norm):
        d = z.shape[-1]
        if norm:
            z = F.layer_norm(z, [d], self.get(f"{place}.norm.weight", d, mean=1.0), self.get(f"{place}.norm.bias", d), 1e-5)
        low = ACTIVATIONS[act](F.linear(z, self.get(f"{place}.down.weight", R, d), self.get(f"{place}.down.bias", R)))
        return F.linear(low, self.get(f"{place}.up.weight", d, R), self.get(f"{place}.up.bias", d))


class Transformer:
    """One row at a time. Subclasses say what their weights are called and where they normalise."""

    def __init__(self, folder):
        with open(os.path.join(HERE, folder, "config.json")) as f:
            self.c = json.load(f)
        self.w = load_file(os.path.join(HERE, folder, "model.safetensors"))

    def linear(self, m, block, name, role, x):
        """The frozen layer, with LoRA's or DoRA's part."""
        weight, bias = self.matrix(block, name, role)
        y = F.linear(x, weight, bias)
        place = f"{self.prefix}.{block}.{name}" + self.slot(role)
        if m.method.startswith("lora+") and role in ("key", "ffn_out"):
            a = m.get(f"{place}.lora_A.weight", RANK, x.shape[-1])
            b = m.get(f"{place}.lora_B.weight", y.shape[-1], RANK)
            return y + ALPHA / RANK * F.linear(F.linear(x, a), b)
        if m.method == "dora" and role in ("query", "value", "ffn_in"):
            a = m.get(f"{place}.lora_A.weight", RANK, x.shape[-1])
            b = m.get(f"{place}.lora_B.weight", y.shape[-1], RANK)
            gain = m.get(f"{place}.lora_gain", y.shape[-1], mean=1.0)
            changed = weight + ALPHA / RANK * b @ a
            length = changed.norm(dim=1, keepdim=True).detach()
            return F.linear(x, gain[:, None] * weight.norm(dim=1, keepdim=True) * changed / length, bias)
        return y

    def attention(self, m, block, q, k, v, causal):
        place, d, n = f"{self.prefix}.{block}.prefix", q.shape[-1], 0
        if m.method == "prefix_plain":
            k = torch.cat([m.get(f"{place}.key", PREFIX, d), k])
            v = torch.cat([m.get(f"{place}.value", PREFIX, d), v])
            n = PREFIX
        if m.method == "prefix_tuning":
            hidden = torch.tanh(F.linear(m.get("prefix.embedding.weight", PREFIX, d), m.get("prefix.hidden.weight", MLP, d),
                                         m.get("prefix.hidden.bias", MLP)))
            both = F.linear(hidden, m.get(f"{place}.out.weight", 2 * d, MLP), m.get(f"{place}.out.bias", 2 * d))
            k, v, n = torch.cat([both[:, :d], k]), torch.cat([both[:, d:], v]), PREFIX
        out = []
        for head in range(self.heads):
            part = slice(head * d // self.heads, (head + 1) * d // self.heads)
            scores = q[:, part] @ k[:, part].T / math.sqrt(d // self.heads)
            if causal:
                for i in range(len(q)):
                    scores[i, n + i + 1:] = -math.inf
            out.append(scores.softmax(-1) @ v[:, part])
        return torch.cat(out, -1)

    def sublayer(self, m, block, tap, h, close):
        """The residual add (`close`), with the adapter that stands before it."""
        place = f"{self.prefix}.{block}.{tap}"
        if m.method == "adapter_h":
            h = h + m.adapter(place, h, "silu", False)
        if m.method == "adapter_h_norm":
            h = h + m.adapter(place, h, "gelu", True)
        if tap == "after_ffn" and (m.method == "adapter_p" or m.method == "adapter_d" and block != 1):
            h = h + m.adapter(place, close(h), "relu", False)
        return close(h)

    def end_of_block(self, m, block, y, special):
        if m.method == "adapter_l":
            y = y + m.adapter(f"{self.prefix}.{block}.after_block", y, "relu", True)
        if m.method.endswith("pre_layer") and block < self.blocks - 1:
            vectors = m.get(f"{self.prompt}.after.{block}.activations.weight", PREFIX + INFIX, y.shape[-1])
            y = y.clone()
            y[special] = vectors
        return y

    def insert(self, m, words, lead, prompt):
        """Special tokens: the prefix behind the first `lead` tokens, the infix behind the first `prompt`."""
        if not m.method.endswith(("pre_embed", "pre_layer")):
            return words, []
        vectors = m.get(f"{self.prompt}.embedding.weight", PREFIX + INFIX, words.shape[-1])
        parts = [words[:lead], vectors[:PREFIX], words[lead:prompt], vectors[PREFIX:], words[prompt:]]
        special = [*range(lead, lead + PREFIX), *range(prompt + PREFIX, prompt + PREFIX + INFIX)]
        return torch.cat(parts), special


class Roberta(Transformer):
    prefix, prompt = "roberta.encoder.layer", "roberta.prompt"
    NAMES = {"query": "attention.self.query", "key": "attention.self.key", "value": "attention.self.value",
             "attn_out": "attention.output.dense", "ffn_in": "intermediate.dense", "ffn_out": "output.dense"}

    def __init__(self, folder):
        super().__init__(folder)
        self.heads, self.blocks = self.c["num_attention_heads"], self.c["num_hidden_layers"]

    def matrix(self, block, name, role):
        return self.w[f"{self.prefix}.{block}.{name}.weight"], self.w[f"{self.prefix}.{block}.{name}.bias"]

    def slot(self, role):
        return ""

    def norm(self, name, x):
        return F.layer_norm(x, [x.shape[-1]], self.w[f"{name}.weight"], self.w[f"{name}.bias"], self.c["layer_norm_eps"])

    def answer(self, m, batch, i):
        ids = torch.tensor(batch["input_ids"][i])
        e = "roberta.embeddings"
        x, special = self.insert(m, self.w[f"{e}.word_embeddings.weight"][ids], 1, len(ids))
        positions = torch.arange(len(x)) + self.c["pad_token_id"] + 1
        x = x + self.w[f"{e}.position_embeddings.weight"][positions] + self.w[f"{e}.token_type_embeddings.weight"][0]
        x = self.norm(f"{e}.LayerNorm", x)
        for b in range(self.blocks):
            lin = lambda role, t: self.linear(m, b, self.NAMES[role], role, t)
            place, before = f"{self.prefix}.{b}", x
            a = lin("attn_out", self.attention(m, b, lin("query", x), lin("key", x), lin("value", x), False))
            x = self.sublayer(m, b, "after_attention", a, lambda h: self.norm(f"{place}.attention.output.LayerNorm", h + before))
            between = x
            f = lin("ffn_out", F.gelu(lin("ffn_in", x)))
            x = self.sublayer(m, b, "after_ffn", f, lambda h: self.norm(f"{place}.output.LayerNorm", h + between))
            x = self.end_of_block(m, b, x, special)
        h = torch.tanh(F.linear(x[0], self.w["classifier.dense.weight"], self.w["classifier.dense.bias"]))
        return F.linear(h, self.w["classifier.out_proj.weight"], self.w["classifier.out_proj.bias"])

    def logits(self, m, batch):
        return torch.stack([self.answer(m, batch, i) for i in range(len(batch["labels"]))])

    def loss(self, logits, batch):
        return F.cross_entropy(logits, torch.tensor(batch["labels"]))


class Gpt2(Transformer):
    prefix, prompt = "transformer.h", "prompt"
    NAMES = {"query": "attn.c_attn", "key": "attn.c_attn", "value": "attn.c_attn", "attn_out": "attn.c_proj", "ffn_in": "mlp.c_fc",
             "ffn_out": "mlp.c_proj"}
    END, MAX_LEN = 96, 40

    def __init__(self, folder):
        super().__init__(folder)
        self.heads, self.blocks = self.c["n_head"], self.c["n_layer"]

    def matrix(self, block, name, role):
        weight, bias = self.w[f"{self.prefix}.{block}.{name}.weight"].T, self.w[f"{self.prefix}.{block}.{name}.bias"]
        if not self.slot(role):
            return weight, bias
        d, part = self.c["n_embd"], ["query", "key", "value"].index(role)
        return weight[part * d:(part + 1) * d], bias[part * d:(part + 1) * d]

    def slot(self, role):
        """The fused weight has a part, and names below it, for each of the three."""
        return f".{role}" if role in ("query", "key", "value") else ""

    def norm(self, name, x):
        return F.layer_norm(x, [x.shape[-1]], self.w[f"{name}.weight"], self.w[f"{name}.bias"], self.c["layer_norm_epsilon"])

    def answer(self, m, row):
        """Scores of the completion's tokens and of the end: each is read off the token before it, special tokens included."""
        ids = (row["prompt"] + [self.END] + row["completion"] + [self.END])[:self.MAX_LEN]
        context = len(row["prompt"]) + 1
        x, special = self.insert(m, self.w["transformer.wte.weight"][torch.tensor(ids[:-1])], 0, context)
        x = x + self.w["transformer.wpe.weight"][:len(x)]
        for b in range(self.blocks):
            lin = lambda role, t: self.linear(m, b, self.NAMES[role], role, t)
            place, before = f"{self.prefix}.{b}", x
            h = self.norm(f"{place}.ln_1", x)
            a = lin("attn_out", self.attention(m, b, lin("query", h), lin("key", h), lin("value", h), True))
            x = self.sublayer(m, b, "after_attention", a, lambda h: h + before)
            between = x
            f = lin("ffn_out", ACTIVATIONS["gelu_new"](lin("ffn_in", self.norm(f"{place}.ln_2", x))))
            x = self.sublayer(m, b, "after_ffn", f, lambda h: h + between)
            x = self.end_of_block(m, b, x, special)
        first = context + len(special) - 1
        return F.linear(self.norm("transformer.ln_f", x[first:]), self.w["transformer.wte.weight"]), ids[context:]

    def logits(self, m, batch):
        answers = [self.answer(m, row) for row in batch]
        self.wanted = torch.tensor([token for _, wanted in answers for token in wanted])
        return torch.cat([scores for scores, _ in answers])

    def loss(self, logits, batch):
        return F.cross_entropy(logits, self.wanted)


MODELS = {"roberta": Roberta, "gpt2": Gpt2}


def main():
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    out = os.path.join(HERE, "methods")
    os.makedirs(out, exist_ok=True)
    for name in sys.argv[1:] or MODELS:
        model = MODELS[name](name)
        model.w = {k: v.double() for k, v in model.w.items()}
        with open(os.path.join(HERE, name, "batches.json")) as f:
            batch = json.load(f)[0]
        tensors = {}
        for seed, method in enumerate(METHODS):
            m = Variables(method, seed)
            logits = model.logits(m, batch)
            model.loss(logits, batch).backward()
            tensors[f"{method}/logits"] = logits.detach().float()
            for key, value in m.values.items():
                tensors[f"{method}/var/{key}"] = value.detach().float()
                tensors[f"{method}/grad/{key}"] = value.grad.float()
            print(f"{name:8} {method:15} {len(m.values):3} variables, largest answer {logits.abs().max():.3f}")
        save_file(tensors, os.path.join(out, f"{name}.safetensors"))
        with open(os.path.join(out, f"{name}.json"), "w") as f:
            json.dump(METHODS, f, indent=1)
            f.write("\n")


if __name__ == "__main__":
    main()
