"""Keys: where they come from, how they are shown, what opens the door."""

import hashlib
from pathlib import Path

import pytest

from r3mes.errors import InvalidKey, StartError
from r3mes.replica.keys import ANONYMOUS, Caller, Keys, load_keys
from r3mes.settings import Settings

KEY = "first-key"
DIGEST = hashlib.sha256(KEY.encode()).hexdigest()


def keys(listed: str | None = None, path: Path | None = None) -> Keys:
    return load_keys(Settings(api_keys=listed, api_keys_file=path))


def identify(known: Keys, *headers: tuple[str, str]) -> Caller:
    def values(wanted: str) -> list[str]:
        return [value for name, value in headers if name == wanted]

    return known.identify(authorization=values("authorization"), api_key=values("x-api-key"))


ACCEPTED = {
    "bearer": ("authorization", f"Bearer {KEY}"),
    "bearer in another case": ("authorization", f"bEARER  {KEY} "),
    "the header of Anthropic's clients": ("x-api-key", KEY),
}


@pytest.mark.parametrize("header", ACCEPTED.values(), ids=ACCEPTED.keys())
@pytest.mark.parametrize("stored", [KEY, f"sha256:{DIGEST}", f"other, {KEY},"])
def test_a_known_key_is_let_in(header: tuple[str, str], stored: str) -> None:
    assert Caller(DIGEST[:8]) == identify(keys(stored), header)


REFUSED: dict[str, list[tuple[str, str]]] = {
    "no key": [],
    "empty": [("authorization", "")],
    "empty bearer": [("authorization", "Bearer ")],
    "no scheme": [("authorization", KEY)],
    "basic": [("authorization", f"Basic {KEY}")],
    "two words": [("authorization", f"Bearer {KEY} {KEY}")],
    "two headers": [("authorization", f"Bearer {KEY}"), ("authorization", f"Bearer {KEY}")],
    "wrong key beside the right one": [("authorization", "Bearer x"), ("x-api-key", KEY)],
    "two of the other header": [("x-api-key", KEY), ("x-api-key", KEY)],
    "the other header, empty": [("x-api-key", "")],
    "only the start": [("authorization", f"Bearer {KEY[:-1]}")],
    "more than the key": [("authorization", f"Bearer {KEY}x")],
    "the digest": [("authorization", f"Bearer sha256:{DIGEST}")],
    "SQL": [("authorization", "Bearer '/**/OR/**/'1'='1")],
    "beyond ASCII": [("authorization", "Bearer ÿþ")],
    "a long one": [("authorization", "Bearer " + "k" * 30_000)],
}


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED.keys())
def test_a_stranger_is_refused_always_in_the_same_words(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidKey) as refused:
        identify(keys(KEY), *headers)

    assert "Give a valid API key: `Authorization: Bearer KEY`." == refused.value.message


def test_without_configured_keys_everyone_is_anonymous() -> None:
    assert ANONYMOUS == identify(keys(), ("authorization", "Bearer whatever"))


def test_keys_come_from_the_variable_and_from_the_file(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(f"# made in May\n\n  second-key  \nSHA256:{DIGEST.upper()}\n")
    known = keys("third-key", path)

    for key in ("second-key", "third-key", KEY):
        assert identify(known, ("x-api-key", key)).key_id


BAD = {
    "a short hash": "sha256:abc",
    "a space": "my secret",
    "beyond ASCII": "schlüssel",
}


@pytest.mark.parametrize("listed", BAD.values(), ids=BAD.keys())
def test_a_bad_list_stops_the_start_and_shows_no_key(listed: str) -> None:
    with pytest.raises(StartError, match=r"R3MES_API_KEYS") as refused:
        keys(listed)

    assert listed not in refused.value.message


@pytest.mark.parametrize("listed", [",", ", ,", "# x"])
def test_a_list_without_a_key_stops_the_start(listed: str) -> None:
    with pytest.raises(StartError, match=r"^R3MES_API_KEYS is set but holds no key\.$"):
        keys(listed)


@pytest.mark.parametrize("content", [b"", b"# none\n", b"ok\nmy secret\n", b"\xff\xfe"])
def test_a_bad_file_stops_the_start(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "keys"
    path.write_bytes(content)

    with pytest.raises(StartError, match="R3MES_API_KEYS_FILE"):
        keys(path=path)


def test_a_missing_file_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartError, match="cannot read"):
        keys(path=tmp_path / "absent")


def test_no_key_is_kept_as_it_was_given() -> None:
    assert KEY not in repr(keys(KEY))
