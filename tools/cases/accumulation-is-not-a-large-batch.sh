# The same rows and steps, whatever the passes: one training loss.
for part in "8 1" "1 8" "4 2" "2 4"; do
  read -r batch accumulate <<<"$part"
  "$BIN/glue" --out "$OUT" --threads 1 --tasks cola --methods full --seeds 1 --epochs 1 --set train.model_dropout=0 \
    --set limit.dev=16 --set limit.train=15 --set train.warmup_ratio=0 --set methods.full.train.lr=0.001 \
    --set "train.batch_size=$batch" --set "train.accumulate=$accumulate" 2>&1 | grep 'training loss' | sed "s/^/$batch x $accumulate: /"
done
for part in "8 1" "4 2" "1 8"; do
  read -r batch accumulate <<<"$part"
  "$BIN/e2e" --out "$OUT/e" --threads 1 --methods full --seeds 1 --epochs 1 --set limit.train=16 --set limit.dev=8 \
    --set limit.test=1 --set methods.full.train.lr=0.001 --set train.warmup_steps=0 --set decode.beams=1 \
    --set decode.max_new_tokens=4 --set train.model_dropout=0 --set "train.batch_size=$batch" \
    --set "train.accumulate=$accumulate" 2>&1 | grep 'training loss' | sed "s/^/$batch x $accumulate: /"
done
