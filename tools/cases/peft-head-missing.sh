"$BIN/lora" adapter merge adapter --base base --out "$OUT/m" 2>&1
"$BIN/lora" adapter info adapter 2>&1 | head -4
