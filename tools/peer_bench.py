#!/usr/bin/env python3
"""The peer of `lora bench train`: the same training steps made by Hugging Face transformers and PEFT.

  peer_bench.py prepare DIR [--model roberta-base|roberta-large|tiny] [--batches 12] [--rows 16] [--max-len 128] [--seed 0]
  peer_bench.py run DIR [--method lora|full|bitfit] [--r 8] [--alpha 16] [--lr 1e-4] [--dtype fp32|bf16]
                        [--device cpu|cuda:N] [--threads 2] [--compile]

`prepare` (torch alone) writes DIR/config.json, DIR/model.safetensors (random weights, dropout 0) and DIR/workload.json:
{"task": "seq-cls", "batches": [{"input_ids": [[int]], "labels": [int]}]}, rows ragged, without padding.

`run` (torch, transformers, peft) makes one AdamW step a batch, in order: betas 0.9/0.999, eps 1e-8, no decay, constant rate, no
clipping, rows padded to the batch's longest; bf16 is autocast. For LoRA (query and value; the classifier trains too) the start is
saved to DIR/adapter_init, so that the other side can start from it and must then show the same losses. Printed is one JSON line:
step_s and tokens_per_s are medians after two warm-up steps, tokens are counted without padding, peak_mib is the device's.
Where a package is missing the line is {"peer": ..., "missing": reason} and the exit status 3.
"""
import argparse
import ctypes
import json
import math
import os
import random
import resource
import statistics
import struct
import sys
import time

PEER = "transformers+peft"
WARM_UP = 2
# hidden, layers, heads, intermediate
SIZES = {"tiny": (64, 2, 4, 128), "roberta-base": (768, 12, 12, 3072), "roberta-large": (1024, 24, 16, 4096)}
VOCAB, POSITIONS, LABELS = 50265, 514, 2


# ---------------------------------------------------------------- prepare


def roberta_shapes(hidden, layers, ffn):
    """Names and shapes of a RobertaForSequenceClassification checkpoint."""
    shapes = {"roberta.embeddings.word_embeddings.weight": [VOCAB, hidden],
              "roberta.embeddings.position_embeddings.weight": [POSITIONS, hidden],
              "roberta.embeddings.token_type_embeddings.weight": [1, hidden]}
    dense = {"classifier.dense": (hidden, hidden), "classifier.out_proj": (LABELS, hidden)}
    norms = ["roberta.embeddings.LayerNorm"]
    for i in range(layers):
        layer = f"roberta.encoder.layer.{i}"
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            dense[f"{layer}.attention.{part}"] = (hidden, hidden)
        dense[f"{layer}.intermediate.dense"] = (ffn, hidden)
        dense[f"{layer}.output.dense"] = (hidden, ffn)
        norms += [f"{layer}.attention.output.LayerNorm", f"{layer}.output.LayerNorm"]
    for name, (out, inputs) in dense.items():
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = [out, inputs], [out]
    for name in norms:
        shapes[f"{name}.weight"], shapes[f"{name}.bias"] = [hidden], [hidden]
    return shapes


def write_weights(path, shapes, seed):
    """A safetensors file written tensor by tensor: 8 bytes header length, JSON header, raw little-endian floats."""
    import torch
    draw = torch.Generator().manual_seed(seed)
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        size = 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            if name.endswith("LayerNorm.weight"):
                value = torch.ones(shape)
            elif name.endswith(".bias"):
                value = torch.zeros(shape)
            else:
                value = torch.empty(shape).normal_(0.0, 0.02, generator=draw)
            f.write(ctypes.string_at(value.data_ptr(), 4 * value.numel()))  # needs no numpy


def prepare(args):
    hidden, layers, heads, ffn = SIZES[args.model]
    os.makedirs(args.dir, exist_ok=True)
    config = dict(architectures=["RobertaForSequenceClassification"], model_type="roberta", vocab_size=VOCAB, hidden_size=hidden,
                  num_hidden_layers=layers, num_attention_heads=heads, intermediate_size=ffn, hidden_act="gelu",
                  max_position_embeddings=POSITIONS, type_vocab_size=1, layer_norm_eps=1e-5, pad_token_id=1, bos_token_id=0,
                  eos_token_id=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    with open(os.path.join(args.dir, "config.json"), "w") as f:
        json.dump(config, f, indent=1)
    write_weights(os.path.join(args.dir, "model.safetensors"), roberta_shapes(hidden, layers, ffn), args.seed)
    rng = random.Random(args.seed)

    def row():
        # A few long rows among many short ones, as in GLUE: the median is 3/8 of the longest allowed.
        length = round(rng.lognormvariate(math.log(0.375 * args.max_len), 0.5))
        return [rng.randrange(5, 50000) for _ in range(min(args.max_len, max(8, length)))]

    batches = [{"input_ids": [row() for _ in range(args.rows)], "labels": [rng.randrange(LABELS) for _ in range(args.rows)]}
               for _ in range(args.batches)]
    with open(os.path.join(args.dir, "workload.json"), "w") as f:
        json.dump({"task": "seq-cls", "batches": batches}, f)


# ---------------------------------------------------------------- run


def adapted(model, args):
    """The model with the method's parameters left trainable."""
    if args.method == "lora":
        from peft import LoraConfig, get_peft_model
        model = get_peft_model(model, LoraConfig(r=args.r, lora_alpha=args.alpha, lora_dropout=0.0, task_type="SEQ_CLS",
                                                 target_modules=["query", "value"]))
        model.save_pretrained(os.path.join(args.dir, "adapter_init"))
    elif args.method == "bitfit":
        for name, p in model.named_parameters():
            p.requires_grad = name.endswith("bias") or name.startswith(("classifier.", "bert.pooler."))
    return model


def padded(batch, pad, device):
    import torch
    rows = batch["input_ids"]
    width = max(map(len, rows))
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    return dict(input_ids=ids, attention_mask=mask, labels=torch.tensor(batch["labels"], device=device))


def train(model, batches, args):
    """One step a batch; returns losses, seconds of each step and the parameters trained."""
    import torch
    kind = args.device.split(":")[0]
    wait = torch.cuda.synchronize if kind == "cuda" else lambda: None
    params = [p for p in model.parameters() if p.requires_grad]
    optimiser = torch.optim.AdamW(params, lr=args.lr, weight_decay=0.0)
    call = torch.compile(model, dynamic=True) if args.compile else model
    losses, seconds = [], []
    for batch in batches:
        inputs = padded(batch, model.config.pad_token_id, args.device)
        wait()
        begun = time.perf_counter()
        with torch.autocast(kind, torch.bfloat16, enabled=args.dtype == "bf16"):
            loss = call(**inputs).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        losses.append(loss.item())
        wait()
        seconds.append(time.perf_counter() - begun)
    return losses, seconds, sum(p.numel() for p in params)


def run(args):
    begun = time.perf_counter()
    try:
        import torch
        import peft  # noqa: F401  (counted in import_s; used by `adapted`)
        from transformers import AutoModelForSequenceClassification
    except ImportError as error:
        print(json.dumps({"peer": PEER, "missing": str(error)}))
        sys.exit(3)
    import_s = time.perf_counter() - begun
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    with open(os.path.join(args.dir, "workload.json")) as f:
        batches = json.load(f)["batches"]
    model = AutoModelForSequenceClassification.from_pretrained(args.dir, dtype=torch.float32)
    model = adapted(model, args).train().to(args.device)
    losses, seconds, trainable = train(model, batches, args)
    rates = [sum(map(len, b["input_ids"])) / s for b, s in zip(batches, seconds)]
    on_gpu = args.device.startswith("cuda")
    peak = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peer": PEER, "method": args.method, "dtype": args.dtype, "device": args.device, "compiled": args.compile,
                      "trainable": trainable, "import_s": round(import_s, 2), "step_s": statistics.median(seconds[WARM_UP:]),
                      "tokens_per_s": round(statistics.median(rates[WARM_UP:]), 1), "peak_mib": round(peak), "losses": losses}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    command = commands.add_parser("prepare")
    command.add_argument("dir")
    command.add_argument("--model", choices=sorted(SIZES), default="roberta-base")
    for name, default in (("batches", 12), ("rows", 16), ("max-len", 128), ("seed", 0)):
        command.add_argument(f"--{name}", type=int, default=default)
    command = commands.add_parser("run")
    command.add_argument("dir")
    command.add_argument("--method", choices=["lora", "full", "bitfit"], default="lora")
    command.add_argument("--dtype", choices=["fp32", "bf16"], default="fp32")
    command.add_argument("--device", default="cpu")
    for name, default in (("r", 8), ("alpha", 16), ("threads", 2), ("seed", 0)):
        command.add_argument(f"--{name}", type=int, default=default)
    command.add_argument("--lr", type=float, default=1e-4)
    command.add_argument("--compile", action="store_true")
    args = parser.parse_args()
    {"prepare": prepare, "run": run}[args.command](args)


if __name__ == "__main__":
    main()
