"""What a person sees of a start."""

import io

from r3mes.engine.messages import ModelInfo
from r3mes.replica.console import Console
from support.backstage import state

MODEL = ModelInfo(
    name="tiny",
    path="",
    max_len=1,
    vocab_size=1,
    eos_token_ids=(),
    dtype="float32",
    device="cpu",
    fingerprint="",
    defaults={},
)
LOADING = state(phase="loading", progress=0.4, detail="reading weights")
WARMING = state(phase="warming", progress=0.0, detail="first generations")
READY = state(model=MODEL, phase_seconds={"load": 1.25, "compile": 0.0})


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(out: io.StringIO, *, locked: bool = False) -> str:
    console = Console("http://127.0.0.1:8000", locked=locked, out=out)
    for each in (LOADING, LOADING, WARMING, READY, READY, state(phase="draining")):
        console.show(each)
    return out.getvalue()


def test_each_phase_has_a_line_and_the_end_is_a_request_to_paste() -> None:
    lines = shown(io.StringIO()).splitlines()

    assert ["load    40%  reading weights", "warm     0%  first generations"] == lines[:2]
    assert "tiny is ready at http://127.0.0.1:8000 (load 1.2 s)" == lines[3]
    assert lines[5].startswith("  curl http://127.0.0.1:8000/v1/chat/completions ")
    assert '"model": "tiny"' in lines[6]
    assert 1 == len([line for line in lines if "stopping" in line])


def test_where_a_key_is_needed_the_request_takes_it_from_the_shell() -> None:
    key_line = '    -H "Authorization: Bearer $OPENAI_API_KEY" \\'

    assert key_line == shown(io.StringIO(), locked=True).splitlines()[6]
    assert "Authorization" not in shown(io.StringIO())


def test_on_a_terminal_the_line_of_a_phase_is_rewritten() -> None:
    text = shown(Terminal())

    assert text.startswith("\r\x1b[Kload    40%  reading weights\r\x1b[Kload    40%")
    assert "\n\r\x1b[Kwarm" in text
