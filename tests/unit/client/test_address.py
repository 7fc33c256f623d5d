import pytest

from r3mes.client.address import base_address
from r3mes.errors import CallFailed


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("localhost:8000", "http://localhost:8000"),
        ("r3mes.example", "http://r3mes.example"),
        ("[::1]:8000/v1", "http://[::1]:8000"),
        ("https://r3mes.example/v1/", "https://r3mes.example"),
        ("https://example.com/models/tiny/v1", "https://example.com/models/tiny"),
    ],
)
def test_an_address_is_understood_as_people_write_it(written: str, meant: str) -> None:
    assert meant == base_address(written)


@pytest.mark.parametrize(
    "written", ["", "http://", "ftp://here", "localhost:port", "[::1", ":8000", "http://a:70000"]
)
def test_what_is_no_address_is_said_in_one_sentence(written: str) -> None:
    with pytest.raises(CallFailed) as failed:
        base_address(written)

    expected = f"{written!r} is not an address like http://127.0.0.1:8000."
    assert expected == failed.value.message
