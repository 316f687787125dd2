# The medians of the table above, computed again from the records, one JSON file a run.
# RESULTS is the store as seen from this notebook's folder.
import json
from pathlib import Path

import polars as pl

METRIC = {"cola": "matthews", "stsb": "pearson"}  # all other tasks: accuracy

rows = []
for path in sorted((Path(RESULTS) / "runs").rglob("*.json")):
    run = json.loads(path.read_text())
    if run["experiment"] != "glue" or run["status"] != "finished" or run["best"] is None:
        continue
    task = "".join(c for c in run["task"].lower() if c.isalnum())
    best = next(e for e in run["evals"] if e["epoch"] == run["best"]["epoch"])
    names = [n for n in sorted(best["metrics"]) if n.startswith("dev/" + METRIC.get(task, "accuracy"))]
    value = best["metrics"][names[0]] if names else None
    if value is not None:
        config = {k: v for k, v in run["config"].items() if k != "seed"}  # runs of one median differ by seed alone
        rows.append([run["preset"], run["label"], run["paper_row"], run["model"], run["method"], run["task"],
                     json.dumps(config, sort_keys=True), run["seed"], 100 * value])

schema = {name: pl.String for name in ("preset", "label", "paper_row", "model", "method", "task", "config")}
frame = pl.DataFrame(rows, schema={**schema, "seed": pl.UInt64, "value": pl.Float64}, orient="row")
medians = frame.group_by(list(schema)).agg(
    pl.col("value").median().round(1).alias("median"), pl.col("value").std().round(1).alias("std"), pl.col("seed").sort()
)
with pl.Config(tbl_rows=-1, tbl_cols=-1):
    print(medians.drop("config", "label").sort("preset", "model", "method", "task"))
