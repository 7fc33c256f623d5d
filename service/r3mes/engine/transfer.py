"""Between host and device, so that neither waits for the other.

Only CUDA has a queue of its own here; on any other device a copy is there when the call returns.
"""

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

Numbers = Sequence[float] | npt.NDArray[Any]


def to_device(values: Numbers, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The copy goes through pinned memory: from any other, the host would wait for all that the
    device has still to do."""
    tensor = torch.as_tensor(values, dtype=dtype)
    if device.type != "cuda":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(tensor: Tensor) -> Tensor:
    """On CUDA into pinned memory, and there only once a `Mark` has passed that was set later."""
    return tensor.to("cpu", non_blocking=tensor.is_cuda)


class Mark:
    """The end of all that the device was told to do so far."""

    def __init__(self, device: torch.device) -> None:
        self._event = torch.cuda.Event() if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        if self._event is not None:
            self._event.record()

    def wait(self) -> None:
        """Until the device has passed it."""
        if self._event is not None:
            self._event.synchronize()
