"""Which values of sampling parameters make sense, for requests and for a checkpoint's defaults.

Knows nobody who draws with them.
"""

# (least, most); a top_p of 0 is out of bounds too, for nothing would be left to draw from.
BOUNDS: dict[str, tuple[float, float]] = {
    "temperature": (0, 2),
    "top_p": (0, 1),
    "top_k": (-1, 1 << 20),  # 0 and -1 turn it off
    "min_p": (0, 1),
    "repetition_penalty": (0.01, 100),  # beyond, logits leave what a float32 can tell apart
}
GREEDY_BELOW = 1e-5  # a temperature under it is greedy: logits over it would overflow
