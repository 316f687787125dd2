# %% The records
#: One JSON file a run. `RESULTS` is the store as seen from this notebook's folder. All that follows reads these rows.
import json
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl

METRIC = {"cola": "matthews", "stsb": "pearson"}  # all other tasks: accuracy
COLOUR = {"lora": "#0072b2", "full": "#d55e00", "bitfit": "#56b4e9", "adapter_h": "#009e73", "head": "#3c3c3c"}
MARKER = {"lora": "o", "full": "s", "bitfit": "P", "adapter_h": "^", "head": "D"}

rows = []
for path in sorted((Path(RESULTS) / "runs").rglob("*.json")):
    run = json.loads(path.read_text())
    if run["experiment"] not in ("glue", "ablations") or run["status"] != "finished" or run["best"] is None:
        continue
    task = "".join(c for c in run["task"].lower() if c.isalnum())
    config = {k: v for k, v in run["config"].items() if k != "seed"}  # runs of one median differ by seed alone
    for e in run["evals"]:
        names = [n for n in sorted(e["metrics"]) if n.startswith("dev/" + METRIC.get(task, "accuracy"))]
        value = e["metrics"][names[0]] if names else None
        if value is not None:
            rows.append([run["preset"], run["label"], run["paper_row"], run["model"], run["method"], run["task"],
                         json.dumps(config, sort_keys=True), run["seed"], run["params"]["base"] + run["params"]["method"],
                         e["epoch"], e["epoch"] == run["best"]["epoch"], 100 * value])

names = ("preset", "label", "paper_row", "model", "method", "task", "config")
schema = {name: pl.String for name in names} | {"seed": pl.UInt64, "trained": pl.Int64, "epoch": pl.Int64, "best": pl.Boolean,
                                                "value": pl.Float64}
frame = pl.DataFrame(rows, schema=schema, orient="row")
print(f"{frame.filter('best').height} runs, {frame.height} evaluations")

# %% Medians over seeds
#: The cells of Table 2 above, computed again.
medians = frame.filter("best").group_by([*names, "trained"]).agg(
    pl.col("value").median().round(1).alias("median"), pl.col("value").std().round(1).alias("std"), pl.col("seed").sort()
)
with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=120):
    print(medians.drop("config", "label").sort("preset", "model", "task", "method"))

# %% Quality against trained parameters
#: Figure 2 above, drawn again. The head alone trains no other parameter and is left out.
tasks = medians["task"].unique().sort().to_list()
fig, axes = plt.subplots(1, max(len(tasks), 1), figsize=(3 * max(len(tasks), 1), 3), squeeze=False, layout="constrained")
for ax, task in zip(axes[0], tasks):
    for method, points in medians.filter((pl.col("task") == task) & (pl.col("trained") > 0)).sort("trained").group_by("method", maintain_order=True):
        ax.plot(points["trained"].log10(), points["median"], color=COLOUR.get(method[0], "#96821e"), marker=MARKER.get(method[0], "v"), label=method[0])
    ax.set(title=task, xlabel="log10 of trained parameters", ylabel="score (%)")
    ax.legend(fontsize=7)
plt.show()

# %% Learning curves
#: The task's metric on dev after each epoch, a line a run.
fig, axes = plt.subplots(1, max(len(tasks), 1), figsize=(3 * max(len(tasks), 1), 3), squeeze=False, layout="constrained")
for ax, task in zip(axes[0], tasks):
    for (method, *_), run in frame.filter(pl.col("task") == task).group_by("method", "config", "seed", maintain_order=True):
        ax.plot(run["epoch"], run["value"], color=COLOUR.get(method, "#96821e"), marker=MARKER.get(method, "v"), label=method)
    handles, labels = ax.get_legend_handles_labels()
    ax.set(title=task, xlabel="epoch", ylabel="dev score (%)")
    ax.legend(*zip(*dict(zip(labels, zip(handles, labels))).values()) if labels else ([], []), fontsize=7)
plt.show()
