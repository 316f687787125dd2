# %% The records
#: One JSON file a run; a row a metric at the epoch that counts. `RESULTS` is the store as seen from this notebook's folder.
import json
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl

EXPERIMENTS = ("e2e", "webnlg", "dart", "wikisql", "samsum")
COLOUR = {"lora": "#0072b2", "full": "#d55e00", "adapter_h": "#009e73", "adapter_l": "#96821e", "ft_top": "#3c3c3c"}

rows, losses = [], []
for path in sorted((Path(RESULTS) / "runs").rglob("*.json")):
    run = json.loads(path.read_text())
    if run["task"] not in EXPERIMENTS or run["status"] != "finished" or run["best"] is None:
        continue
    config = json.dumps({k: v for k, v in run["config"].items() if k != "seed"}, sort_keys=True)
    method = run["config"].get("method", {}).get("kind", run["method"]) if run["method"] in ("bare", "prefix", "ft_top2") else run["method"]
    head = [run["model"], run["task"], method, config, run["seed"], run["params"]["base"] + run["params"]["method"]]
    best = next(e for e in run["evals"] if e["epoch"] == run["best"]["epoch"])
    rows += [[*head, metric, value] for metric, value in best["metrics"].items() if value is not None]
    losses += [[*head, e["epoch"], e["metrics"].get("dev/loss")] for e in run["evals"]]

heads = {"model": pl.String, "task": pl.String, "method": pl.String, "config": pl.String, "seed": pl.UInt64, "trained": pl.Int64}
frame = pl.DataFrame(rows, schema=heads | {"metric": pl.String, "value": pl.Float64}, orient="row")
curves = pl.DataFrame(losses, schema=heads | {"epoch": pl.Int64, "loss": pl.Float64}, orient="row")
print(f"{frame.select('model', 'task', 'method', 'config', 'seed').unique().height} runs")

# %% Means over seeds
#: The cells of the tables above, computed again: fractions, as recorded.
means = frame.group_by("model", "task", "method", "config", "trained", "metric").agg(
    pl.col("value").mean().round(4).alias("mean"), pl.col("value").std().round(4).alias("std"), pl.col("seed").sort()
)
with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=120, fmt_str_lengths=40):
    print(means.drop("config").sort("task", "model", "method", "metric"))

# %% Loss on dev, epoch by epoch
#: A line a run.
tasks = curves["task"].unique().sort().to_list()
fig, axes = plt.subplots(1, max(len(tasks), 1), figsize=(3 * max(len(tasks), 1), 3), squeeze=False, layout="constrained")
for ax, task in zip(axes[0], tasks):
    for (model, method, *_), run in curves.filter(pl.col("task") == task).group_by("model", "method", "config", "seed", maintain_order=True):
        ax.plot(run["epoch"], run["loss"], color=COLOUR.get(method, "#cc79a7"), marker="o", label=f"{model} {method}")
    ax.set(title=task, xlabel="epoch", ylabel="loss on dev")
    ax.legend(fontsize=6)
if not tasks:
    axes[0][0].text(0.5, 0.5, "no runs yet: cargo run -p experiments --bin e2e", ha="center", va="center", transform=axes[0][0].transAxes, fontsize=7)
plt.show()
