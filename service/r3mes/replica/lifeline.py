"""What a child of the supervisor that forks does about its parent's death.

The pipe itself is the engine's `lifeline`: one line of JSON on standard input, which then stays
open and silent. Knows nothing of what the child does.
"""

import json
import os
import select
from typing import Any

from r3mes.engine.lifeline import PARENT_GONE, STDIN, ask_kernel, read_line


def read_payload() -> dict[str, Any]:
    """The parent's line; call once, before anything else reads standard input."""
    payload = json.loads(read_line())
    if not isinstance(payload, dict):
        raise TypeError("the parent's line is not an object")
    return payload


def tie_to_parent(parent: int) -> None:
    """Ask the kernel to end this process with `parent`; only Linux can, others have the pipe."""
    ask_kernel()
    if os.getppid() != parent:  # it went before the kernel was asked
        os._exit(PARENT_GONE)


def is_cut() -> bool:
    """Whether the parent is gone; does not wait."""
    readable, _, _ = select.select([STDIN], [], [], 0)
    return bool(readable) and not os.read(STDIN, 1)
