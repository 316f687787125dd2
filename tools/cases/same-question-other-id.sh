again() {
  "$BIN/glue" --out "$OUT" --threads 1 --tasks mrpc --methods lora --seeds 1 --epochs 1 --set limit.train=64 --set limit.dev=32 \
    --quiet "$@" >/dev/null
}
again
again --set 'methods.lora.targets=[value,query]'
again --set 'methods.lora.targets=[query,query,value]'
again --set methods.lora.alpha=16.0
again --set methods.lora.dropout=0
grep -h '"train_loss"' "$OUT"/runs/*.json
"$BIN/figures" --results "$OUT" --out "$OUT/f" --only table2,table15 >/dev/null
grep -h 'roberta | lora' "$OUT"/f/tables/*.md
"$BIN/results" compare lora lora --results "$OUT" 2>&1
