"""What needs a CUDA device; `make test-gpu` runs it, since kernels are interpreted elsewhere."""

import os

import pytest
import torch


@pytest.fixture(autouse=True)
def _device() -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA device")
    if os.environ.get("TRITON_INTERPRET") != "0":
        pytest.skip("kernels are interpreted here: make test-gpu")
