"""The variables that Kubernetes puts into a pod for each Service of its namespace.

A Service named `r3mes` or `r3mes-…` gives variables that begin like our settings. Knows no setting.
"""

import re
from collections.abc import Iterator, Mapping

REST = r"_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT(_\d+_(TCP|UDP|SCTP)(_[A-Z]+)?)?)"
ADDRESS = re.compile(r"(?:tcp|udp|sctp)://(?P<host>.+):(?P<port>\d+)")


def looks_like_one(name: str, value: str) -> bool:
    """A plain number in `…_PORT` is rather a slip of somebody who meant a setting."""
    if re.fullmatch(f"[A-Z0-9_]+{REST}", name) is None:
        return False
    its_own = not name.endswith("_PORT") or name.endswith("_SERVICE_PORT")
    return its_own or ADDRESS.fullmatch(value) is not None


def is_service_link(name: str, environ: Mapping[str, str]) -> bool:
    """For certain: the variables that each Service gets are there and fit together."""
    return any(re.fullmatch(service + REST, name) for service in services(environ))


def services(environ: Mapping[str, str]) -> Iterator[str]:
    for name, value in environ.items():
        address = ADDRESS.fullmatch(value)
        if address is None or not name.endswith("_PORT"):
            continue
        service = name.removesuffix("_PORT")
        told = [environ.get(f"{service}_SERVICE_{part}") for part in ("HOST", "PORT")]
        if told == [address["host"].strip("[]"), address["port"]]:
            yield re.escape(service)
