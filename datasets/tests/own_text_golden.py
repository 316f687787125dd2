"""Prints the scores that `text::own` must give, by sacrebleu 2.6.0 and rouge-score 0.1.2.

  python3 -m venv env && env/bin/pip install sacrebleu==2.6.0 rouge-score==0.1.2
  env/bin/python datasets/tests/own_text_golden.py
"""
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu import corpus_bleu

TEXTS = ["The cat was sitting on a mat today.", "It seems nobody came to the house."]
REFERENCES = [
    ["The cat sat on the mat.", "A cat was sitting on the mat today."],
    ["Nobody came to the old house, it seems."],
]

most = max(map(len, REFERENCES))
streams = [[refs[i] if i < len(refs) else None for refs in REFERENCES] for i in range(most)]
print("BLEU", repr(corpus_bleu(TEXTS, streams).score / 100))
scorer = RougeScorer(["rougeL"])
best = [scorer.score_multi(refs, text)["rougeL"].fmeasure for refs, text in zip(REFERENCES, TEXTS)]
print("rougeL", repr(sum(best) / len(best)))
