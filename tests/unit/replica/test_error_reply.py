"""The headers of an error: when, and whether, a client should come again."""

import pytest

from r3mes import errors
from r3mes.errors import R3mesError
from r3mes.replica.error_reply import headers_of

TRANSIENT = (errors.Overloaded, errors.ModelLoading, errors.ShuttingDown, errors.EngineCrash)
LASTING = (errors.InvalidRequest, errors.InternalError, errors.DeadlineExceeded)


@pytest.mark.parametrize("kind", TRANSIENT)
def test_an_error_that_a_new_try_may_mend_says_when(kind: type[R3mesError]) -> None:
    told = dict(headers_of(kind("later"), b""))

    assert (b"1", b"true") == (told[b"retry-after"], told[b"x-should-retry"])


@pytest.mark.parametrize("kind", LASTING)
def test_an_error_that_no_try_mends_invites_none(kind: type[R3mesError]) -> None:
    told = dict(headers_of(kind("never"), b""))

    assert b"retry-after" not in told
    assert b"true" != told.get(b"x-should-retry")
