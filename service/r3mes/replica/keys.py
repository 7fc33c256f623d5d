"""The keys that open the service: where they are configured, and whether a request shows one.

Only digests of keys are kept, and each is compared in constant time. Knows no web framework, so
that whoever starts a replica can refuse a bad list before anything runs.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from r3mes.errors import InvalidKey, StartError
from r3mes.settings import Settings

HASHED = re.compile(r"sha256:([0-9a-f]{64})", re.IGNORECASE)
PLAIN = re.compile(r"[\x21-\x7e]+")  # what a header can carry without ambiguity
BEARER = re.compile(r"bearer +(\S+) *", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Caller:
    """`key_id` is the start of the key's digest, safe to log; None where no keys are configured."""

    key_id: str | None


ANONYMOUS = Caller(None)


@dataclass(frozen=True, slots=True)
class Keys:
    """Digests of all keys that open the service; none at all means that it is open."""

    digests: tuple[bytes, ...]

    @property
    def exist(self) -> bool:
        return bool(self.digests)

    def identify(self, *, authorization: Sequence[str], api_key: Sequence[str]) -> Caller:
        """Takes all values of the two headers; raises InvalidKey for a stranger."""
        if not self.digests:
            return ANONYMOUS
        digest = hashlib.sha256(presented(authorization, api_key)).digest()
        # A list, not a generator: every key is compared, whichever matches.
        if not any([hmac.compare_digest(digest, known) for known in self.digests]):  # noqa: C419
            raise unknown_key()
        return Caller(digest.hex()[:8])


def presented(authorization: Sequence[str], api_key: Sequence[str]) -> bytes:
    """The one key among the headers."""
    if authorization:
        match = BEARER.fullmatch(authorization[0]) if len(authorization) == 1 else None
        if match is None:
            raise unknown_key()
        return match[1].encode("latin-1")
    if len(api_key) != 1 or not api_key[0]:
        raise unknown_key()
    return api_key[0].encode("latin-1")


def unknown_key() -> InvalidKey:
    """The same words for every reason, so that an answer tells nothing about keys."""
    return InvalidKey("Give a valid API key: `Authorization: Bearer KEY`.")


def load_keys(settings: Settings) -> Keys:
    """Read all configured keys; raises StartError, which never shows a key."""
    digests: list[bytes] = []
    if settings.api_keys is not None:
        listed = settings.api_keys.get_secret_value().split(",")
        digests += digests_of(listed, source="R3MES_API_KEYS")
    if settings.api_keys_file is not None:
        digests += digests_of(file_lines(settings.api_keys_file), source="R3MES_API_KEYS_FILE")
    return Keys(tuple(dict.fromkeys(digests)))


def file_lines(path: Path) -> list[str]:
    try:
        return path.read_text("ascii").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"R3MES_API_KEYS_FILE: cannot read {path} as ASCII text.") from error


def digests_of(entries: Iterable[str], *, source: str) -> list[bytes]:
    """An empty source is refused: it would open a service that was meant to be closed."""
    digests = [digest(entry, where) for where, entry in meaningful(entries, source=source)]
    if not digests:
        raise StartError(f"{source} is set but holds no key.")
    return digests


def meaningful(entries: Iterable[str], *, source: str) -> Iterator[tuple[str, str]]:
    for number, entry in enumerate(entries, start=1):
        text = entry.strip()
        if text and not text.startswith("#"):
            yield f"{source}, entry {number}", text


def digest(entry: str, where: str) -> bytes:
    if entry.lower().startswith("sha256:"):
        match = HASHED.fullmatch(entry)
        if match is None:
            raise StartError(f"{where}: `sha256:` needs 64 hex digits after it.")
        return bytes.fromhex(match[1])
    if not PLAIN.fullmatch(entry):
        raise StartError(f"{where}: a key is visible ASCII without spaces.")
    return hashlib.sha256(entry.encode("ascii")).digest()
