"$BIN/glue" --preset minilm --methods lora --seeds 1 --epochs 1 --threads 1 --jobs 1 --device cpu --set train.max_len=48 \
  --model a --data data --tasks sts-b --out "$OUT" 2>&1 | tail -14 | grep -iE 'lora|seeds|not measured'
