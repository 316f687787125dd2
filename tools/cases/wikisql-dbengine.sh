"$BIN/lora" score wikisql same-column.txt same-column.jsonl --json
