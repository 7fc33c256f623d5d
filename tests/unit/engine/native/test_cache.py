import torch

from r3mes.engine.native.cache import NativeCache
from r3mes.engine.pool_size import LayerShape, make_pool


def test_all_layers_of_a_block_lie_together_and_in_no_other_ones_place() -> None:
    wide = LayerShape(2, 32, 16, None, torch.float32)
    shapes = {0: wide, 1: LayerShape(1, 16, 16, None, torch.float32), 2: wide}
    pool = make_pool(shapes.values(), 5, block_size=16, longest=16, cpu=True)

    cache = NativeCache(shapes, pool)

    first = cache.layers[0].keys
    begins = [at - first for it in cache.layers.values() for at in (it.keys, it.values)]
    assert begins == [0, 4096, 6144, 7168, 8192, 12288]
    assert {it.stride for it in cache.layers.values()} == {14336 // 4}
