"""Triton kernels on a CPU: what is decorated while this holds is interpreted, triton too.

`transformers` imports triton, so that the outermost conftest does so first.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

NAME = "TRITON_INTERPRET"


@contextmanager
def interpreted() -> Iterator[None]:
    """Unless the variable says otherwise, as it does for tests on a GPU."""
    given = os.environ.get(NAME)
    os.environ.setdefault(NAME, "1")
    try:
        yield
    finally:
        if given is None:
            del os.environ[NAME]
