"""What the cases on a cluster rest upon, as far as it needs no cluster."""

import sys
from pathlib import Path

from e2e.clients import forwarding, wait_until

# Tells of more connections than a pipe holds, and then that it got so far.
CHATTY = """
import pathlib, sys, time
print("Forwarding from 127.0.0.1:4711 -> 8000", flush=True)
for _ in range(10_000):
    print("Handling connection for 4711", flush=True)
pathlib.Path(sys.argv[1]).touch()
time.sleep(60)
"""


def test_a_port_forward_goes_on_however_much_it_tells(tmp_path: Path) -> None:
    through = tmp_path / "through"
    with forwarding([sys.executable, "-c", CHATTY, str(through)]) as url:
        wait_until("all of it was told", through.exists)

    assert "http://127.0.0.1:4711" == url
