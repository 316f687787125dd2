twice() {
  "$BIN/e2e" --out "$OUT" --threads 1 --methods full,lora --seeds 1 --epochs 1 --set limit.train=16 --set limit.dev=8 \
    --set limit.test=2 --set train.batch_size=16 --set train.warmup_steps=0 --set methods.full.train.lr=1e6 \
    --set decode.beams=2 --set decode.max_new_tokens=8 2>&1 | grep -E 'error|e2e ·'
}
twice
ls "$OUT"
echo "--- the same again"
twice
grep -h '"finished"\|"dev/loss"' "$OUT"/runs/*.json
