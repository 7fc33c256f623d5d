"""Between text and token ids: templates, tokenizer, incremental decoding, stop strings."""
