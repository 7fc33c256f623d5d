"""One model behind the OpenAI API: supervisor, API workers, probes, drain."""
