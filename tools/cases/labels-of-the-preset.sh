"$BIN/glue" --preset roberta-base --model embedded:deberta --data embedded --tasks mrpc --methods head --seeds 1 --epochs 1 \
  --set limit.train=32 --set limit.dev=16 --set methods.head.train.max_len=64 --threads 1 --out "$OUT" --quiet
"$BIN/glue" --preset minilm --model embedded:roberta --data embedded --tasks mrpc --methods head --seeds 1 --epochs 1 \
  --set limit.train=32 --set limit.dev=16 --set train.max_len=64 --threads 1 --out "$OUT/2" --quiet
