"""The kernels against plain torch: every way to ask, and nothing touched that is not theirs."""

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed")

from support.paged import SCENES, Scene


@pytest.mark.parametrize("name", SCENES)
def test_attention_is_that_of_plain_torch(name: str) -> None:
    scene = Scene(**SCENES[name])
    asked = scene.asked()

    torch.testing.assert_close(scene.expected(asked), scene.computed(asked), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["decode beside chunks", "all of it"])
def test_sixteen_bits_differ_by_their_rounding_alone(name: str) -> None:
    """Not bfloat16: the interpreter multiplies its bits as if they were integers."""
    scene = Scene(**SCENES[name], dtype=torch.float16)
    asked = scene.asked()

    torch.testing.assert_close(
        scene.expected(asked), scene.computed(asked).float(), rtol=2e-2, atol=2e-2
    )


@pytest.mark.parametrize("name", ["decode beside chunks", "blocks of 12", "values wider than keys"])
def test_new_tokens_are_kept_in_their_places_and_nothing_else_is(name: str) -> None:
    scene = Scene(**SCENES[name])
    old = [pages.clone() for pages in scene.cache.layers[0]]

    scene.computed(scene.asked(), blanks=3)

    for pages, before, told in zip(
        scene.cache.layers[0], old, (scene.keys, scene.values), strict=True
    ):
        expected = before.clone()
        for (start, fed), blocks, kept in zip(scene.rows, scene.blocks, told, strict=True):
            for at in range(start, start + fed):
                block, place = divmod(at, scene.block_size)
                expected[blocks[block], :, place] = kept[:, at]
        torch.testing.assert_close(expected, pages, rtol=0, atol=0, equal_nan=True)


def test_blank_rows_change_no_other_and_get_zeros() -> None:
    scene = Scene(**SCENES["decode, split"])
    asked = scene.asked()
    alone = scene.computed(asked)

    computed = scene.computed(asked, blanks=5)

    torch.testing.assert_close(alone, computed[:3], rtol=1e-5, atol=1e-5)
    assert 0.0 == computed[3:].abs().max()


def test_a_row_that_is_not_finite_harms_no_other() -> None:
    scene = Scene(**SCENES["decode beside chunks"])
    expected = scene.expected(scene.asked())
    scene = Scene(**SCENES["decode beside chunks"])
    asked = scene.asked()
    asked.key[:, :, 0] = float("nan")

    computed = scene.computed(asked)

    assert computed[0].isnan().all()
    torch.testing.assert_close(expected[1:], computed[1:], rtol=1e-5, atol=1e-5)


def test_heads_that_do_not_lie_in_a_row_are_read_as_well() -> None:
    scene = Scene(**SCENES["decode, ragged"])
    asked = scene.asked()
    expected = scene.expected(asked)
    query = asked.query.transpose(2, 3).contiguous().transpose(2, 3)
    assert 1 != query.stride(-1)
    object.__setattr__(asked, "query", query)

    torch.testing.assert_close(expected, scene.computed(asked), rtol=1e-5, atol=1e-5)
