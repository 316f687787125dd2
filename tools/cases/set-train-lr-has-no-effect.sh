for rate in "" 0.0003 0.9; do
  echo "[$rate]"
  "$BIN/glue" --preset minilm --methods lora --seeds 1 --epochs 1 --threads 1 --jobs 1 --device cpu --set train.max_len=48 \
    --model a --data data --tasks cola --out "$OUT" --dry-run --json ${rate:+--set train.lr=$rate} 2>/dev/null | grep -o '"id":"[0-9a-f]*"'
done
