"""From texts to logits, for every protocol: tokenizer, predictor and warm-up. Knows no HTTP."""
