for adapter in zeroB zeroA; do
  "$BIN/subspace" "$PWD/$adapter" --base "$PWD/base" --layers 1 --probe 1 --modules query --out "$OUT" --threads 1 |
    grep -E '^(update|#|with W|Of the)'
done
"$BIN/figures" --results "$OUT" --out "$OUT/f" --only table7 >/dev/null
grep -h 'base |' "$OUT"/f/tables/table7*.md
