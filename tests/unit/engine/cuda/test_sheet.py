"""What a step tells the device."""

import pytest
import torch

from r3mes.engine.cuda.sheet import BLANK, STRIDE, Plan, Sheet
from r3mes.engine.runner import UNKNOWN, Row

TOLD = {
    "tokens": [9, 8, 5, 6, 7, 0],
    "positions": [17, 0, 3, 4, 5, 0],
    "slots": [5 * 16 + 1, 3 * 16, 2 * 16 + 3, 2 * 16 + 4, 2 * 16 + 5, -1],
    "follows": [-1] * 6,
    "begins": [0, 1, 2, 5, 6],
    "lengths": [18, 1, 6, 0],
    "table_begins": [0, 2, 3, 4],
    "tables": [1, 5, 3, 2],
    "tile_rows": [0, 1, 2, 2, 3],
    "tile_firsts": [0, 0, 0, 2, 0],
    "kept": [0, 1, 4],
}
ROWS = [
    Row([9], 17, [1, 5], None),
    Row([8], 0, [3], None),
    Row([5, 6, 7], 3, [2], None),
    BLANK,
]


@pytest.fixture
def sheet() -> Sheet:
    device = torch.device("cpu")
    return Sheet(tokens=10, rows=5, table=8, block_size=16, device=device)


def told(sheet: Sheet, name: str, count: int) -> list[int]:
    return sheet.device.parts[name][:count].tolist()


@pytest.mark.parametrize("name", TOLD)
def test_rows_are_told_by_numbers(sheet: Sheet, name: str) -> None:
    plan = sheet.write(ROWS, [0, 1, 4], tile=2)

    assert Plan(tokens=6, single=3, tiles=5, kept=3) == plan
    assert TOLD[name] == told(sheet, name, len(TOLD[name]))


def test_a_shorter_batch_after_a_longer_one_is_told_as_well(sheet: Sheet) -> None:
    sheet.write(ROWS, [0, 1, 4], tile=2)
    sheet.write([ROWS[2]], [2], tile=4)

    assert Plan(tokens=3, single=0, tiles=1, kept=1) == sheet.write([ROWS[2]], [2], tile=4)
    assert [5, 6, 7] == told(sheet, "tokens", 3)
    assert [2 * 16 + 3, 2 * 16 + 4, 2 * 16 + 5] == told(sheet, "slots", 3)
    assert [0] == told(sheet, "table_begins", 1)


def test_only_the_last_token_of_a_row_follows(sheet: Sheet) -> None:
    rows = [Row([UNKNOWN], 3, [2], None, follows=4), Row([1, UNKNOWN], 0, [1], None, follows=0)]

    sheet.write(rows, [0, 2], tile=2)

    assert [4, -1, 0] == told(sheet, "follows", 3)


def test_sections_begin_where_kernels_were_compiled_for(sheet: Sheet) -> None:
    for part in sheet.device.parts.values():
        assert 0 == part.storage_offset() % STRIDE


def test_the_numbers_of_a_step_do_not_move(sheet: Sheet) -> None:
    places = {name: part.data_ptr() for name, part in sheet.device.parts.items()}

    for _ in range(3):
        sheet.write(ROWS, [0], tile=2)

    assert places == {name: part.data_ptr() for name, part in sheet.device.parts.items()}


def test_what_was_sent_is_not_written_over_by_the_next_step(sheet: Sheet) -> None:
    """The copy of one step may still wait when the next one is written."""
    sheet.write(ROWS, [0], tile=2)
    first, second = sheet._stagings

    before = first.buffer.clone()
    sheet.write([ROWS[2]], [2], tile=4)

    assert before.equal(first.buffer)
    assert not before.equal(second.buffer)
