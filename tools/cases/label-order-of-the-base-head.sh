# One classifier, its rows in two orders, at a learning rate of nearly 0.
for model in as-glue other-order; do
  "$BIN/glue" --preset minilm --methods head --seeds 1 --epochs 1 --threads 1 --jobs 1 --device cpu --set train.max_len=48 \
    --model "$model" --data data --tasks cola --out "$OUT/$model" --set methods.head.train.lr=0.000000000001 2>&1 | grep -E 'epoch 1,'
done
