"""The size of the KV cache: what is free, the limits, and when a start is refused."""

from typing import Any

import pytest
import torch

from r3mes.engine.pool_size import LayerShape, Pool, pool_size
from r3mes.errors import StartError
from r3mes.settings import EngineSettings

MIB = 1 << 20
SHAPES = [LayerShape(2, 64, 64, None, torch.float32)] * 3  # 1 KiB a token and layer
BLOCK = 4 * 16 * 1024  # of three layers, and a fourth for the desk


def size(free: int, *, longest: int = 4096, asked: int | None = None, **engine: Any) -> Pool:
    settings = EngineSettings(**{"max_batch": 4, **engine})
    return pool_size(SHAPES, settings, longest=longest, asked=asked, free=free, cpu=True)


def test_a_fraction_of_free_memory_is_taken() -> None:
    assert 25 * MIB // BLOCK - 2 == size(50 * MIB).blocks


def test_what_is_taken_fits_into_the_budget_with_the_desk() -> None:
    pool = size(50 * MIB)

    held = (pool.blocks + 1) * 3 * 16 * 1024 + pool.desk * 16 * 1024
    assert held <= 25 * MIB


def test_no_more_than_a_full_batch_of_the_longest_could_use() -> None:
    assert 4 * 4096 // 16 == size(1 << 40).blocks


def test_the_limit_in_mebibytes_holds_on_a_cpu() -> None:
    assert 16 * MIB // BLOCK - 2 == size(1 << 40, kv_memory_limit_mb=16).blocks


def test_a_number_of_blocks_set_by_the_user_is_taken() -> None:
    assert 7 == size(50 * MIB, kv_blocks=7).blocks


def test_a_number_of_blocks_that_does_not_fit_is_refused() -> None:
    with pytest.raises(StartError, match="1000 KV blocks need 62 MiB, and 50 MiB are free"):
        size(50 * MIB, kv_blocks=1000)


def test_less_than_a_useful_sequence_is_refused() -> None:
    with pytest.raises(StartError, match="may take 1 MiB, and one sequence of 512 tokens needs 3"):
        size(2 * MIB)


def test_a_length_that_the_user_asked_for_must_fit() -> None:
    assert size(10 * MIB).tokens < 2048
    with pytest.raises(StartError, match="one sequence of 2048 tokens needs"):
        size(10 * MIB, longest=2048, asked=2048)


def test_the_desk_holds_the_longest_sequence() -> None:
    assert 40_000 // 16 + 1 == size(1 << 40, longest=40_000).desk


def test_on_a_cpu_a_group_stays_within_the_caches() -> None:
    assert 4 * MIB // (16 * 1024) == size(1 << 40).group
