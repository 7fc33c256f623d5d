"""What a replica takes hold of before anything heavy starts: address, run folder, user's files.

Each failure is one sentence for people. Knows no process.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import zmq

from r3mes.engine.messages import ENGINE_SOCKET
from r3mes.errors import StartError
from r3mes.settings import ServerSettings

BACKLOG = 2048
PREFIX = "r3mes-"
LOCK = "r3mes.lock"  # a name that no other program gives: what lies beside it may be removed


def listen(settings: ServerSettings) -> socket.socket:
    """A listening socket; raises StartError when the address cannot be had."""
    host, port = settings.host, settings.port
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartError(f"{host} is not an address that can be listened on.") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise StartError(why_not(error, host, port)) from error
    return listener


def why_not(error: OSError, host: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"Port {port} of {host} is in use; stop what listens there or take another port."
    if error.errno == errno.EACCES:
        return f"This user may not listen on port {port}; take one above 1023."
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{host} is not an address of this machine."
    return f"Cannot listen on port {port} of {host}: {error.strerror}."


def check_template(path: Path | None) -> None:
    """Raises StartError when the user's chat template cannot be read."""
    if path is None:
        return
    try:
        path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise StartError(f"The chat template {path} cannot be read.") from error


def url_of(listener: socket.socket) -> str:
    """Where a client on this machine finds it."""
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 - compared only
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextlib.contextmanager
def run_folder() -> Iterator[Path]:
    """A private folder for the sockets; raises StartError when there is no room for it."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    except OSError as error:
        raise StartError(
            "There is no folder for temporary files with space left; make room or set TMPDIR."
        ) from error
    try:
        if len(os.fsencode(folder / ENGINE_SOCKET)) > zmq.IPC_PATH_MAX_LEN:
            raise StartError(f"The path of {folder.parent} is too long for a socket; set TMPDIR.")
        with locked(folder):
            sweep(folder.parent)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def locked(folder: Path) -> TextIO:
    """The folder's lock, which the kernel lets go of when this process dies, whatever kills it."""
    new = folder / "new"
    try:
        new.write_text(f"{os.getpid()}\n")
        lock = new.open()
        fcntl.flock(lock, fcntl.LOCK_EX)
        new.rename(folder / LOCK)  # nobody sees it before it is held
    except OSError as error:
        raise StartError(f"Cannot write to {folder.parent}: {error.strerror}.") from error
    return lock


def sweep(parent: Path) -> None:
    """Remove the folders of replicas that were killed before they could."""
    for path in parent.glob(f"{PREFIX}*/{LOCK}"):
        with contextlib.suppress(OSError), path.open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path.parent, ignore_errors=True)
