"""Why a replica failed, left in the file that whoever runs the container shows to people.

Knows the form of that file, not the reasons: a sentence that holds a secret may not get here.
"""

import contextlib
from pathlib import Path

from r3mes.errors import StartError

MOST_BYTES = 4096  # Kubernetes keeps no more of it


def clear(place: Path | None) -> None:
    """Nothing of an earlier run is left; raises StartError when no last word could be left."""
    if place is None:
        return
    try:
        place.write_bytes(b"")
    except OSError as error:
        raise StartError(
            f"R3MES_TERMINATION_LOG: {place} cannot be written: {error.strerror}."
        ) from error


def leave(place: Path | None, reason: str) -> None:
    """Best effort: the reason is on standard error too, and the process ends either way."""
    if place is None:
        return
    with contextlib.suppress(OSError):
        place.write_bytes(in_form(reason))


def in_form(reason: str) -> bytes:
    """Valid UTF-8 that ends with a line's end, however long the reason."""
    kept = reason.strip().encode("utf-8", "replace")[: MOST_BYTES - 1]
    return kept.decode("utf-8", "ignore").encode() + b"\n"
