"""What can be seen of the image without building it."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import pytest

from r3mes import __version__

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile.gpu").read_text()
LOCKS = ("engine", "engine-cpu")  # what LOCK may be


def instructions() -> Iterator[tuple[str, str, str]]:
    """Stage, instruction and the rest of it, with long lines joined."""
    stage = ""
    text = re.sub(r"^#.*\n", "", DOCKERFILE, flags=re.MULTILINE).replace("\\\n", " ")
    for line in filter(None, map(str.strip, text.splitlines())):
        word, _, rest = line.partition(" ")
        if word == "FROM":
            stage = rest.split(" AS ")[1]
        yield stage, word, rest


def copied_from_here() -> Iterator[str]:
    for _, word, rest in instructions():
        if word == "COPY" and "--from" not in rest:
            *sources, _ = shlex.split(rest)
            for source in sources:
                yield from {source.replace("${LOCK}", lock) for lock in LOCKS}


def goes_to_the_builder(path: str) -> bool:
    """As .dockerignore says: the last pattern that fits the path or a folder above it decides."""
    goes = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        if line and not line.startswith("#") and fits(path, line.removeprefix("!")):
            goes = line.startswith("!")
    return goes


def fits(path: str, pattern: str) -> bool:
    wanted = PurePosixPath(pattern).parts
    parts = PurePosixPath(path).parts
    if wanted[0] == "**":
        return any(fnmatchcase(part, wanted[1]) for part in parts)
    return len(wanted) <= len(parts) and all(map(fnmatchcase, parts, wanted))


def test_all_that_is_copied_is_here_and_goes_to_the_builder() -> None:
    sources = list(copied_from_here())

    assert "requirements/engine-cpu.txt" in sources
    assert [] == [path for path in sources if not (ROOT / path).exists()]
    assert [] == [path for path in sources if not goes_to_the_builder(path)]


def test_little_else_goes_to_the_builder() -> None:
    tracked = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.splitlines()
    if not tracked:
        pytest.skip("this is not a checkout of git")
    going = [path for path in tracked if goes_to_the_builder(path) and (ROOT / path).exists()]

    assert {"hatch_build.py", "pyproject.toml", "README.md", "requirements", "service"} == {
        PurePosixPath(path).parts[0] for path in going
    }
    assert sum((ROOT / path).stat().st_size for path in going) < 16 << 20


def test_a_folder_of_compiled_files_stays_here() -> None:
    assert not goes_to_the_builder("service/r3mes/engine/__pycache__/loop.cpython-311.pyc")


def test_a_stage_copies_from_another_one_before_it_mounts_it() -> None:
    """Some builders see only so that it has to be there first, and when a layer is stale."""
    mounting = {
        (stage, mounted)
        for stage, word, rest in instructions()
        for mounted in re.findall(r"--mount=\S*from=(\w+)", rest)
        if word == "RUN" and mounted != "wheels"
    }
    copying = {
        (stage, rest.removeprefix("--from=").split()[0])
        for stage, word, rest in instructions()
        if word == "COPY"
    }

    assert {"control-dependencies", "gpu-dependencies"} == {stage for stage, _ in mounting}
    assert mounting <= copying


def test_all_that_is_downloaded_is_checked_by_its_hash() -> None:
    runs = [rest for _, word, rest in instructions() if word == "RUN"]
    installs = [
        part
        for rest in runs
        for part in rest.split("&&")
        if re.search(r"pip (install|sync)|uv build", part)
    ]

    assert 5 == len(installs)
    assert [] == [part for part in installs if "--require-hashes" not in part]
    assert "--offline" in (ROOT / "requirements" / "overlay.sh").read_text()


@pytest.mark.parametrize("target", ["gpu", "control"])
def test_a_target_ends_as_a_user_that_kubernetes_can_see_is_not_root(target: str) -> None:
    users = [rest for stage, word, rest in instructions() if (stage, word) == (target, "USER")]

    assert ["10001:10001"] == users


@pytest.mark.parametrize("target", ["gpu", "control"])
def test_no_stage_below_a_target_takes_a_tool(target: str) -> None:
    taken = [
        rest
        for stage, word, rest in instructions()
        if stage in ("runtime", f"{target}-dependencies", target) and word in ("COPY", "ADD")
    ]

    assert 3 == len(taken)
    places = ("/", "/usr/share/doc/r3mes/", "/usr/share/doc/r3mes/lock.txt")
    assert all(rest.split()[-1] in places for rest in taken)
    assert f"--from={target}-package /overlay/ /" in taken


def test_the_lock_without_torch_holds_the_same_versions_as_the_one_with_it() -> None:
    def pins(lock: str) -> set[str]:
        text = (ROOT / "requirements" / f"{lock}.txt").read_text()
        return set(re.findall(r"^[\w.-]+==[^\s;]+", text, re.MULTILINE))

    assert pins("control") < pins("engine")
    assert not [
        pin for pin in pins("control") if pin.startswith(("torch", "nvidia", "transformers"))
    ]


def dry_run(*arguments: str) -> str:
    done = subprocess.run(
        ["make", "--no-print-directory", "--dry-run", "image", "CONTAINER=builder", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin"},
    )
    return " ".join(done.stdout.replace("\\\n", " ").split())


def test_make_image_names_the_image_after_the_version() -> None:
    assert f"--target gpu --tag r3mes:{__version__} " in dry_run()
    assert f"--target control --tag r3mes:{__version__}-control " in dry_run("TARGET=control")


def test_a_folder_of_wheels_takes_the_lock_of_torch_s_cpu_build() -> None:
    assert "--build-arg LOCK=engine-cpu --build-context wheels=/wheels" in dry_run("WHEELS=/wheels")
    assert "LOCK" not in dry_run()
    assert "LOCK" not in dry_run("TARGET=control", "WHEELS=/wheels")


def test_what_was_compiled_here_stays_here() -> None:
    """The image's own processor may be another."""
    assert not goes_to_the_builder("service/r3mes/engine/native/operators-avx2.so")


def test_a_c_compiler_comes_with_the_cuda_build_alone() -> None:
    """Triton compiles its launcher at run time; nothing else does."""
    installing = [(stage, rest) for stage, word, rest in instructions() if "gcc" in rest]

    [(stage, told)] = installing
    assert "gpu-dependencies" == stage
    assert told.startswith('if [ "${LOCK}" = engine ]; then')


def test_what_triton_compiles_is_kept_where_all_may_write() -> None:
    [told] = [rest for _, word, rest in instructions() if "TRITON_CACHE_DIR" in rest]

    assert "TRITON_CACHE_DIR=/cache/triton" in told
