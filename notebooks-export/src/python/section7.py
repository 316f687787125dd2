# %% The records
#: One JSON file an analysis. `RESULTS` is the store as seen from this notebook's folder.
import json
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import polars as pl

analyses = [json.loads(path.read_text()) for path in sorted((Path(RESULTS) / "analyses").rglob("*.json"))]
subspaces = [a for a in analyses if a["findings"]["kind"] == "subspace"]
latencies = [a for a in analyses if a["findings"]["kind"] == "latency"]
for a in analyses:
    print(a["id"], a["findings"]["kind"], a["model"], "-", a["label"])
print(f"{len(analyses)} analyses")

# %% Which weights, which rank
#: Tables 5 and 6 above, again: LoRA's runs on as much data as any other of their model and task, the score in per cent of the epoch that
#: was chosen, over seeds their median, of generated texts their mean (a seed that was run under two names counts once).
LETTER = {"query": "q", "key": "k", "value": "v", "attn_out": "o", "qkv": "qkv", "ffn_in": "ffn1", "ffn_out": "ffn2"}
TEXTS = ("test/BLEU", "test/rouge1", "/logical_form")
rows = []
for path in sorted((Path(RESULTS) / "runs").rglob("*.json")):
    run = json.loads(path.read_text())
    if run["status"] != "finished" or run["best"] is None:
        continue
    best = next((e["metrics"] for e in run["evals"] if e["epoch"] == run["best"]["epoch"]), {})
    value = next((best[name] for end in TEXTS for name in best if name.endswith(end)), best.get(run["metric"]))
    method = run["config"].get("method", {})
    lora = method.get("kind") == "lora" and value is not None
    targets = method.get("targets", []) if lora else []
    weights = [letter for t, letter in LETTER.items() if t in targets] + sorted(set(targets) - set(LETTER))
    limit = (run["config"].get("limit") or {}).get("train")
    rows.append([run["model"], run["task"], ",".join(weights), method.get("r") if lora else None, len(weights), run["config"].get("train", {}).get("lr"),
                 run["provenance"]["weights_sha256"], limit, run["seed"], 100 * value if lora else None])
schema = {"model": pl.String, "task": pl.String, "weights": pl.String, "r": pl.Int64, "matrices": pl.Int64, "lr": pl.Float64,
          "base": pl.String, "limit": pl.Int64, "seed": pl.UInt64, "value": pl.Float64}
frame = pl.DataFrame(rows, schema=schema, orient="row")
frame = frame.filter(pl.col("limit").fill_null(2**62) == pl.col("limit").fill_null(2**62).max().over("model", "task"))
keys = ["model", "task", "lr", "base", "weights", "matrices", "r"]
values = pl.col("value")
level = pl.when(pl.col("task").first().is_in(["e2e", "webnlg", "dart", "wikisql", "samsum"])).then(values.mean()).otherwise(values.median())
cells = frame.drop_nulls("value").group_by(*keys, "seed").agg(values.mean()).group_by(keys).agg(level.round(1).alias("value"))
cells = cells.with_columns(budget=pl.col("r") * pl.col("matrices"), rank=pl.format("r={}", "r")).sort(keys)
for title, column, beside in (("Table 5", "weights", "budget"), ("Table 6", "rank", "weights")):
    index = ["model", "task", "lr", "base", beside]
    several = cells.filter(pl.col(column).n_unique().over(index) > 1)
    if not several.height:
        print(f"{title}: no runs yet: cargo run -p experiments --bin ablations")
        continue
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=140):
        print(title, several.sort("matrices", "r").pivot(column, index=index, values="value").drop("base").sort("model", "task", beside), sep="\n")

# %% Overlap of subspaces
#: phi(i, j) of Figures 3, 4 and 8, drawn again: at the probed layer, i downwards, j across. It is kept in whole thousandths.
def grids(found, about):
    def meant(g):
        return g["about"] == about and g.get("layer") in (None, found["probe"])
    return [g for g in found["grids"] if meant(g)]


for a in subspaces:
    found = a["findings"]
    shown = [g for about in ("ranks", "seeds", "random", "weight", "weight_random") for g in grids(found, about)]
    if not shown:
        continue
    columns = 4
    lines = -(-len(shown) // columns)
    fig, axes = plt.subplots(lines, columns, figsize=(12, 2.7 * lines), squeeze=False, layout="constrained")
    for ax in axes.flat:
        ax.axis("off")
    for ax, g in zip(axes.flat, shown):
        values = np.array(g["thousandths"]).reshape(g["i"]["len"], g["j"]["len"]) / 1000
        ax.axis("on")
        picture = ax.imshow(values, cmap="YlGnBu", aspect="auto", interpolation="nearest", extent=(0.5, g["j"]["len"] + 0.5, g["i"]["len"] + 0.5, 0.5))
        fig.colorbar(picture, ax=ax)
        ax.set(title=f"{g['about']}, {g.get('module') or 'no module'}, layer {g.get('layer') or '-'}", xlabel="j", ylabel="i")
    fig.suptitle(f"{a['model']}: {a['label']}", fontsize=9)
    plt.show()

# %% Projections and amplification
#: Table 7 again, every layer and linear that was analysed.
rows = [{"model": a["model"], "rank": a["findings"]["adapters"][p["adapter"]]["rank"], **p} for a in subspaces for p in a["findings"]["projections"]]
if rows:
    table = pl.DataFrame(rows, infer_schema_length=None).drop("adapter", "a", "b", "ba").rename({"amplification_unscaled": "unscaled"})
    table = table.with_columns(pl.col(name).round(3) for name, kind in table.schema.items() if kind == pl.Float64)
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=170):
        print(table.sort("model", "module", "layer", "rank"))
else:
    print("no projections yet: cargo run -p experiments --bin subspace")

# %% Latency
#: Table 1 and Figure 5 again: means, and the slow-down over the model alone in per cent.
cells = [{"model": a["model"], "device": a["provenance"]["device"], **c} for a in latencies for c in a["findings"]["cells"]]
if cells:
    frame = pl.DataFrame(cells, infer_schema_length=None)
    base = frame.filter(pl.col("design") == "base").select("model", "device", "batch", "length", base="mean_ms")
    frame = frame.join(base, on=["model", "device", "batch", "length"], how="left")
    frame = frame.with_columns(slowdown=((pl.col("mean_ms") / pl.col("base") - 1) * 100).round(1))
    with pl.Config(tbl_rows=60, tbl_cols=-1, tbl_width_chars=160):
        print(frame.select("model", "device", "design", "bottleneck", "batch", "length", "mean_ms", "sd_ms", "slowdown"))
else:
    print("no latencies yet: cargo run -p experiments --bin latency")
