"$BIN/e2e" --out "$OUT" --threads 1 --methods lora --seeds 1 --epochs 1 --set 'methods.lora.targets=[query,value]' \
  --set methods.lora.r=4 --set limit.train=200 --set limit.dev=20 --set limit.test=2 --set decode.beams=1 \
  --set decode.max_new_tokens=4 --keep --quiet >/dev/null
run=$(basename "$OUT"/weights/*.safetensors .safetensors)
"$BIN/lora" adapter export "$OUT/$run" --base embedded:gpt2 --out "$OUT/peft" >/dev/null
"$BIN/subspace" "$OUT/$run" "$OUT/peft" --base embedded:gpt2 --layers 1 --probe 1 --modules query --out "$OUT/s" --threads 1 |
  grep -E '^(update|#| *shared|across|In layer)'
