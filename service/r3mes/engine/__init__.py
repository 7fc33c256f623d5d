"""Tokens in, tokens out: the process that owns the model and its KV cache.

Knows no HTTP and no text.
"""
