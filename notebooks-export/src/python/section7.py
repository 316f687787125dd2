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
    for about, remark in found["remarks"].items():
        print(f"{about}: {remark}")

# %% Projections and amplification
#: Table 7 again, every layer and linear that was analysed.
rows = [{"model": a["model"], "rank": a["findings"]["adapters"][p["adapter"]]["rank"], **p} for a in subspaces for p in a["findings"]["projections"]]
if rows:
    table = pl.DataFrame(rows, infer_schema_length=None).drop("adapter")
    table = table.with_columns(pl.col(name).round(3) for name, kind in table.schema.items() if kind == pl.Float64)
    with pl.Config(tbl_rows=40, tbl_cols=-1, tbl_width_chars=160):
        print(table.sort("model", "module", "layer", "rank"))
else:
    print("no projections yet: cargo run -p experiments --bin subspace")

# %% Latency
#: Table 1 and Figure 5 again: medians, and the slow-down over the model alone in per cent.
cells = [{"model": a["model"], "device": a["provenance"]["device"], **c} for a in latencies for c in a["findings"]["cells"]]
if cells:
    frame = pl.DataFrame(cells, infer_schema_length=None)
    base = frame.filter(pl.col("design") == "base").select("model", "device", "batch", "length", base="median_ms")
    frame = frame.join(base, on=["model", "device", "batch", "length"], how="left")
    frame = frame.with_columns(slowdown=((pl.col("median_ms") / pl.col("base") - 1) * 100).round(1))
    with pl.Config(tbl_rows=60, tbl_cols=-1, tbl_width_chars=160):
        print(frame.select("model", "device", "design", "bottleneck", "batch", "length", "median_ms", "iqr_ms", "slowdown"))
else:
    print("no latencies yet: cargo run -p experiments --bin latency")
