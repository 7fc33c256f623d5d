"""Our own side of a call to a server with the OpenAI API. Knows no role and no engine."""
