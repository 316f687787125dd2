"$BIN/lora" adapter merge adapter --base base --out "$OUT/m" 2>&1
