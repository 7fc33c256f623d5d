"""From `model.source` to a local folder: the bundled model, a folder, or a download from the hub.

Owns what is downloaded and how failures of the hub are said. Knows nothing of what is in the files.
"""

import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from huggingface_hub import snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from tqdm import tqdm

from r3mes.errors import StartError, first_line
from r3mes.settings import ModelSettings

BUNDLED = "bundled"
BUNDLED_NAME = "r3mes-tiny"
WANTED = ["*.safetensors", "*.json", "*.jinja", "*.txt", "*.model"]
UNWANTED = ["*/*", "consolidated*"]  # the same weights in other forms; a star crosses a slash
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
Progress = Callable[[float, str], None]


def locate(model: ModelSettings, *, progress: Progress) -> Path:
    """The folder with the checkpoint; downloads a hub id, or finds it in the local cache."""
    folder = _here(model.source)
    if folder is not None:
        if model.revision is not None:
            raise StartError(f"a revision is for a model of the hub, and {model.source} is here")
        return folder
    if not HUB_ID.fullmatch(model.source):
        raise StartError(f"there is no folder {model.source}")
    return _download(model, progress)


def served_name(model: ModelSettings) -> str:
    if model.name is not None:
        return model.name
    if model.source == BUNDLED:
        return BUNDLED_NAME
    folder = _here(model.source)
    return model.source if folder is None else folder.name


def _here(source: str) -> Path | None:
    """The folder that the source names, if it is one."""
    if source == BUNDLED:
        return Path(str(resources.files("r3mes") / "tiny"))
    try:
        folder = Path(source).expanduser()
    except RuntimeError as error:
        raise StartError(f"there is no folder {source}") from error
    return folder.resolve() if folder.is_dir() else None


def _download(model: ModelSettings, progress: Progress) -> Path:
    name = model.source
    try:
        return Path(
            snapshot_download(
                name,
                revision=model.revision,
                allow_patterns=WANTED,
                ignore_patterns=UNWANTED,
                tqdm_class=_reporting(progress, name),
            )
        )
    except Exception as error:
        raise StartError(_reason(error, model)) from error


def _reason(error: Exception, model: ModelSettings) -> str:
    """One line for people. Gated is a kind of not found, so it is asked for first."""
    name = model.source
    if isinstance(error, LocalEntryNotFoundError) and isinstance(error.__cause__, HfHubHTTPError):
        error = error.__cause__  # the hub answered, and what is cached does not help
    if isinstance(error, GatedRepoError):
        return f"{name} is gated: accept its terms on the hub and set HF_TOKEN"
    if isinstance(error, RevisionNotFoundError):
        return f"{name} has no revision {model.revision} on the hub"
    if isinstance(error, RepositoryNotFoundError | HFValidationError):
        return (
            f"{name} is neither a folder here nor a model on the hub (a private one needs HF_TOKEN)"
        )
    if isinstance(error, LocalEntryNotFoundError | OfflineModeIsEnabled):
        return f"{name} is not in the local cache and the hub cannot be reached"
    if isinstance(error, HfHubHTTPError):
        return f"the hub answered {error.response.status_code} for {name}"
    return f"the download of {name} failed: {first_line(error)}"


def _reporting(progress: Progress, name: str) -> type[Any]:
    """A progress bar class that draws nothing and reports the bytes that have arrived."""

    class Reporting(tqdm):  # type: ignore[misc]  # tqdm has no types
        def __init__(self, *args: Any, **options: Any) -> None:
            self.bytes = options.get("unit") == "B" and "Recons" in options.get("desc", "")
            super().__init__(*args, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            self.n += n or 0
            if self.bytes and self.total:
                done = min(1.0, self.n / self.total)
                progress(done, f"downloading {name}: {int(done * 100)} %")
            return None

    return Reporting
