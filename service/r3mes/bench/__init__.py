"""Measures a running server with the OpenAI API. Knows nothing of how it is built."""
