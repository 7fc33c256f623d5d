import pytest
import torch

from r3mes.engine.native.cache import NativeCache
from r3mes.engine.pool_size import LayerShape, make_pool
from support.taken_memory import resident_mib, where_given_ahead


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_all_layers_of_a_block_lie_together_and_in_no_other_ones_place(dtype: torch.dtype) -> None:
    wide = LayerShape(2, 32, 16, None, dtype)
    shapes = {0: wide, 1: LayerShape(1, 16, 16, None, dtype), 2: wide}
    pool = make_pool(shapes.values(), 5, block_size=16, longest=16, cpu=True)

    cache = NativeCache(shapes, pool)

    first, size = cache.layers[0].keys, dtype.itemsize
    begins = [(at - first) // size for it in cache.layers.values() for at in (it.keys, it.values)]
    assert [0, 1024, 1536, 1792, 2048, 3072] == begins
    assert {3584} == {it.stride for it in cache.layers.values()}


@where_given_ahead
def test_a_quarter_of_the_cache_is_taken_when_it_is_made() -> None:
    shapes = {0: LayerShape(4, 64, 64, None, torch.float32)}
    pool = make_pool(shapes.values(), 4096, block_size=16, longest=16, cpu=True)
    before = resident_mib()

    cache = NativeCache(shapes, pool)

    assert 128 == cache.num_blocks * cache.layers[0].stride * 4 >> 20
    assert 30 < resident_mib() - before < 40
