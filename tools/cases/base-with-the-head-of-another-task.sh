# A base fine-tuned on three classes, for a task of two.
"$BIN/glue" --preset minilm --methods lora --seeds 1 --epochs 1 --threads 1 --jobs 1 --device cpu --set train.max_len=48 \
  --model three-classes --data data --tasks cola --out "$OUT" 2>&1 | grep -m1 failed:
