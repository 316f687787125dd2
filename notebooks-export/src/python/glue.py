# %% The records
#: One JSON file a run. `RESULTS` is the store as seen from this notebook's folder. All that follows reads these rows.
import json
from pathlib import Path

import matplotlib.pyplot as plt
import polars as pl

METRIC = {"cola": "matthews", "stsb": "pearson"}  # all other tasks: accuracy
# Colour, marker and whether it is filled, as in the figures above.
LOOK = {
    "lora": ("#0072b2", "o", True), "dora": ("#0072b2", "o", False), "lora+pre_embed": ("#0072b2", "v", False),
    "lora+pre_layer": ("#0072b2", "D", False), "full": ("#d55e00", "s", True), "ft_top": ("#3c3c3c", "s", False),
    "adapter_h": ("#009e73", "^", True), "adapter_l": ("#009e73", "^", False), "adapter_p": ("#009e73", ">", True),
    "adapter_d": ("#009e73", ">", False), "pre_embed": ("#e69f00", "v", True), "pre_layer": ("#cc79a7", "D", True),
    "prefix_tuning": ("#cc79a7", "<", True), "bitfit": ("#56b4e9", "P", True),
}


def look(kind):
    colour, marker, filled = LOOK.get(kind, ("#96821e", "<", False))
    return {"color": colour, "marker": marker, "markerfacecolor": colour if filled else "none"}


def line(config):
    """What runs have in common that differ in size alone."""
    method = {k: v for k, v in config.get("method", {}).items() if not isinstance(v, int) or isinstance(v, bool)}
    return json.dumps([method, config.get("train")], sort_keys=True)


rows = []
for path in sorted((Path(RESULTS) / "runs").rglob("*.json")):
    run = json.loads(path.read_text())
    if run["experiment"] not in ("glue", "ablations") or run["status"] != "finished":
        continue
    task = "".join(c for c in run["task"].lower() if c.isalnum())
    config = {k: v for k, v in run["config"].items() if k != "seed"}  # runs of one median differ by seed alone
    head = [run["experiment"], run["preset"], run["label"], run["paper_row"], run["model"], run["method"], run["task"],
            json.dumps(config, sort_keys=True), config.get("method", {}).get("kind", run["method"]), json.dumps(config.get("method"), sort_keys=True),
            line(config), (config.get("limit") or {}).get("train"), run["seed"], run["params"]["base"] + run["params"]["method"]]
    if run["best"] is None:  # its metric is undefined at every epoch; it is a run all the same
        rows.append([*head, None, True, None])
        continue
    for e in run["evals"]:
        names = [n for n in sorted(e["metrics"]) if n.startswith("dev/" + METRIC.get(task, "accuracy"))]
        value = e["metrics"][names[0]] if names else None
        if value is not None:
            rows.append([*head, e["epoch"], e["epoch"] == run["best"]["epoch"], 100 * value])

names = ("experiment", "preset", "label", "paper_row", "model", "method", "task", "config", "kind", "settings", "line")
schema = {name: pl.String for name in names} | {"limit": pl.Int64, "seed": pl.UInt64, "trained": pl.Int64, "epoch": pl.Int64,
                                                "best": pl.Boolean, "value": pl.Float64}
frame = pl.DataFrame(rows, schema=schema, orient="row")
print(f"{frame.filter('best').height} runs, {frame.height} evaluations")


def axes_of(frame):
    """A panel a model and task, four in a row."""
    panels = frame.select("model", "task").unique().sort("model", "task").rows()
    lines = max(-(-len(panels) // 4), 1)
    fig, axes = plt.subplots(lines, 4, figsize=(13, 3.3 * lines), squeeze=False, layout="constrained")
    for ax in axes.flat[len(panels):]:
        ax.axis("off")
    return fig, list(zip(axes.flat, panels))


def legend(fig):
    """Of all panels one, each name once."""
    found = {}
    for ax in fig.axes:
        found |= dict(zip(*reversed(ax.get_legend_handles_labels())))
    if found:
        fig.legend(found.values(), found.keys(), loc="outside lower center", ncols=8, fontsize=8)


# %% Medians over seeds
#: The cells of Table 2 above, computed again.
table2 = frame.filter(pl.col("best") & (pl.col("experiment") == "glue"))
medians = table2.group_by("preset", "paper_row", "model", "method", "task", "config", "trained").agg(
    pl.col("value").median().round(1).alias("median"), pl.col("value").std().round(1).alias("std"), pl.col("seed").sort()
)
with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=120):
    print(medians.drop("config").sort("preset", "model", "task", "method"))

# %% Quality against trained parameters
#: Table 15 and Figure 2 above, again: medians over seeds (a seed that was run under two names counts once). A line joins what differs
#: in size alone; runs on less data than others are left out, and the head alone, which trains no other parameter.
most = pl.col("limit").fill_null(2**62).max().over("model", "task")
full = frame.filter(pl.col("best") & (pl.col("limit").fill_null(2**62) == most))
seeds = full.group_by("model", "task", "kind", "line", "settings", "trained", "seed").agg(pl.col("value").mean())
levels = seeds.group_by("model", "task", "kind", "line", "settings", "trained").agg(
    pl.col("value").median().alias("median"), pl.col("value").std().alias("std"), pl.len().alias("n")
)
fig, panels = axes_of(levels)
for ax, (model, task) in panels:
    shown = levels.filter((pl.col("model") == model) & (pl.col("task") == task) & (pl.col("trained") > 0)).sort("kind", "line", "trained")
    for (kind, _), points in shown.group_by("kind", "line", maintain_order=True):
        ax.plot(points["trained"].log10(), points["median"], label=kind, **look(kind))
    ax.set(title=f"{model}, {task}", xlabel="log10 of trained parameters", ylabel="score (%)")
legend(fig)
plt.show()

# %% Little data
#: Table 16 above, again: methods that were also trained on fewer rows, at the score of the best epoch, median over seeds.
some = frame.filter("best").with_columns(rows=pl.col("limit").cast(pl.String).fill_null("all"))
lr = pl.col("config").str.json_path_match("$.train.lr")
seeds = some.group_by("model", "task", "kind", "settings", lr.alias("lr"), "rows", "seed").agg(pl.col("value").mean())
cells = seeds.group_by("model", "task", "kind", "settings", "lr", "rows").agg(pl.col("value").median().round(1))
cells = cells.filter(pl.col("rows").n_unique().over("model", "task", "kind", "settings", "lr") > 1)
if cells.height:
    order = sorted(cells["rows"].unique(), key=lambda rows: float("inf") if rows == "all" else int(rows))
    wide = cells.sort("kind").pivot("rows", index=["model", "task", "kind", "lr", "settings"], values="value")
    with pl.Config(tbl_rows=-1, tbl_cols=-1, tbl_width_chars=140, fmt_str_lengths=40):
        print(wide.select("model", "task", "kind", "lr", *order))
else:
    print("no runs on little data yet: cargo run -p experiments --bin ablations -- --grid low-data")

# %% Learning curves
#: The task's metric on dev after each epoch, a line a run of Table 2.
curves = frame.filter(pl.col("experiment") == "glue")
fig, panels = axes_of(curves)
for ax, (model, task) in panels:
    shown = curves.filter((pl.col("model") == model) & (pl.col("task") == task)).sort("method", "config", "seed", "epoch")
    for (kind, *_), run in shown.group_by("kind", "config", "seed", maintain_order=True):
        ax.plot(run["epoch"], run["value"], label=kind, **look(kind))
    ax.set(title=f"{model}, {task}", xlabel="epoch", ylabel="dev score (%)")
legend(fig)
plt.show()
