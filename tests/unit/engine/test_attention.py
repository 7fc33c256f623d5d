"""The arithmetic of attention, against the definition, in pieces and whole."""

import pytest
import torch

from r3mes.engine import attention
from r3mes.engine.attention import Heads, attend, causal


def heads(
    *, softcap: float | None = None, sinks: bool = False, rows: int = 9
) -> tuple[Heads, torch.Tensor]:
    """A call of 4 query heads on 2 key heads, and the result by the definition."""
    dice = torch.Generator().manual_seed(0)
    query, key, value = (
        torch.randn(1, count, rows, width, generator=dice)
        for count, width in ((4, 8), (2, 8), (2, 6))
    )
    sink = torch.randn(4, generator=dice) if sinks else None
    scores = query @ key.repeat_interleave(2, 1).transpose(2, 3) * 0.3
    if softcap:
        scores = softcap * torch.tanh(scores / softcap)
    scores = scores + causal(rows, query)(slice(None))
    if sink is not None:
        scores = torch.cat([scores, sink.view(1, 4, 1, 1).expand(1, 4, rows, 1)], -1)
    weights = scores.softmax(-1)[..., :rows]
    result = (weights @ value.repeat_interleave(2, 1)).transpose(1, 2)
    return Heads(query, key, value, 0.3, None, softcap, sink), result


CASES = [{}, {"softcap": 2.0}, {"sinks": True}, {"softcap": 2.0, "sinks": True}]


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_attention_is_what_the_definition_says(case: dict[str, float], masked: bool) -> None:
    asked, expected = heads(**case)  # type: ignore[arg-type]
    mask = causal(9, asked.query) if masked else None

    out = attend(asked.query, asked.key, asked.value, asked, mask)

    torch.testing.assert_close(expected, out)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_pieces_that_bound_memory_change_nothing(
    case: dict[str, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, expected = heads(**case)  # type: ignore[arg-type]
    monkeypatch.setattr(attention, "SCORES_BYTES", 4 * 4 * 9 * 2)  # two rows at once

    out = attend(asked.query, asked.key, asked.value, asked, causal(9, asked.query))

    torch.testing.assert_close(expected, out)
