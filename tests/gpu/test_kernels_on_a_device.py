"""The kernels as they are compiled, against plain torch, in the scenes that are interpreted too."""

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed")

from support.paged import SCENES, Scene

pytestmark = pytest.mark.gpu
CLOSE = {torch.float32: 1e-5, torch.float16: 1e-2, torch.bfloat16: 4e-2}


@pytest.mark.parametrize("dtype", CLOSE)
@pytest.mark.parametrize("name", SCENES)
def test_attention_is_that_of_plain_torch(name: str, dtype: torch.dtype) -> None:
    scene = Scene(**SCENES[name], dtype=dtype, device="cuda")
    asked = scene.asked()

    torch.testing.assert_close(
        scene.expected(asked),
        scene.computed(asked).float(),
        rtol=CLOSE[dtype],
        atol=CLOSE[dtype],
    )


@pytest.mark.parametrize("programs", [16, 264])
def test_long_sequences_of_a_real_shape_are_split(programs: int) -> None:
    scene = Scene(
        [(5000, 1), (17, 1), (3000, 40)],
        query_heads=32,
        heads=8,
        key_width=128,
        value_width=128,
        dtype=torch.bfloat16,
        device="cuda",
        programs=programs,
    )
    asked = scene.asked()

    torch.testing.assert_close(
        scene.expected(asked), scene.computed(asked).float(), rtol=4e-2, atol=4e-2
    )
