"""The address of a server, as people write it. Knows nothing of what is asked there."""

from urllib.parse import urlsplit

from r3mes.errors import CallFailed


def base_address(text: str) -> str:
    """Without a scheme it is http; the `/v1` that other clients want is left away."""
    wrong = CallFailed(f"{text!r} is not an address like http://127.0.0.1:8000.")
    try:
        parts = urlsplit(text.strip() if "://" in text else f"http://{text.strip()}")
        sound = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as error:
        raise wrong from error
    if not sound:
        raise wrong
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/').removesuffix('/v1')}"
