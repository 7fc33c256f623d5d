"""A process of its own for what loads torch, so that nothing of it is left where others begin."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor


def apart() -> ProcessPoolExecutor:
    """Torch's idle threads sleep in it, as in the server. They ask once, when torch is loaded; the
    servers beside ours are not to inherit the answer, so it is given in there alone."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(1, mp_context=context, initializer=_let_threads_sleep)


def _let_threads_sleep() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
