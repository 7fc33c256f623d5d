"""R3MES: language models over an OpenAI-compatible API, on one machine or on Kubernetes."""

__version__ = "0.1.0"
