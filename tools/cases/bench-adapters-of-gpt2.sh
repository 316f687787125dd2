for tokens in 1 2 8; do
  echo "tokens $tokens: $("$BIN/lora" bench adapters --threads 1 --model embedded:gpt2 --repeats 1 --adapters 2 --rows 2 --tokens "$tokens" | tail -1)"
done
