# A config.json without a key, and with what transformers takes for it.
for model in no-*; do
  "$BIN/glue" --preset minilm --methods lora --seeds 1 --epochs 1 --threads 1 --jobs 1 --device cpu --set train.max_len=48 \
    --model "$model" --data data --tasks cola --out "$OUT/$model" 2>&1 | grep -E 'error|failed|epoch 1,'
done
