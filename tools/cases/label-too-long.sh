label=$(printf 'a long label of the runs in this study, %.0s' 1 2 3 4 5 6 7)
cat >"$OUT.yaml" <<YAML
label: "$label"
model: embedded:roberta
data: embedded
tasks: {mrpc: {}}
methods: {head: {}}
seeds: [1]
limit: {train: 16, dev: 8}
train: {epochs: 1, max_len: 64}
YAML
"$BIN/glue" --config "$OUT.yaml" --threads 1 --out "$OUT" --quiet >/dev/null
echo rc=$?
ls "$OUT/tables"
"$BIN/figures" --results "$OUT" --out "$OUT/f" >/dev/null
echo rc=$?
