"$BIN/lora" adapter info adapter 2>&1 | grep -E 'NaN|error'
"$BIN/lora" adapter merge adapter --base base --out "$OUT/m" 2>&1
echo "status $?"
