"""Makes the bundled model r3mes-tiny: text, tokenizer, weights and judgement. Not shipped."""
