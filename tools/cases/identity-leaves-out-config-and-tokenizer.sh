for model in a config-changed tokenizer-changed; do
  for where in one "$model"; do
    [ "$where" = one ] && echo "== $model in one store" || echo "== $model alone"
    "$BIN/glue" --preset minilm --methods lora --seeds 1 --epochs 1 --threads 1 --jobs 1 --device cpu --set train.max_len=48 \
      --model "$model" --data data --tasks cola --out "$OUT/$where" 2>&1 | grep -E 'in the store|epoch 1,'
  done
done
