"""The cluster that the cases run on: the one of E2E_KUBECONFIG, or one made here and ended after.

A machine that can have no cluster skips the cases and says why; with E2E_REQUIRED every skip fails.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from e2e.clients import Kubectl, Program
from e2e.cluster import binaries, lifecycle, packages
from e2e.cluster.locks import Users
from e2e.cluster.places import BIN, KUBECONFIG, OF_TESTS
from e2e.cluster.unfit import EXIT_CODE
from e2e.image import Image, build, forget_all_but, named
from e2e.namespaces import new_namespace
from e2e.outcomes import MEASURED, figures, refuse_skip
from e2e.releases import Release

TESTS = Path(__file__).parents[1]
GIVEN = os.environ.get("E2E_KUBECONFIG", "")
REQUIRED = bool(os.environ.get("E2E_REQUIRED"))
UP_S, DOWN_S = 3600, 300


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if REQUIRED and not GIVEN:  # a given cluster lacks what only one made here has
        refuse_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if lines := list(figures(terminalreporter.stats)):
        terminalreporter.section("measured")
        terminalreporter.write_line("\n".join(lines))


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Callable[[str], None]:
    """Takes a figure, which is shown at the end of the run."""
    return lambda figure: record_property(MEASURED, figure)


def _cluster(command: str, *arguments: str, timeout_s: float) -> None:
    """In a process of its own, so that the daemons are no children of the tests."""
    done = subprocess.run(
        [sys.executable, "-m", "e2e.cluster", command, *arguments],
        env={**os.environ, "PYTHONPATH": str(TESTS)},
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=timeout_s,
    )
    if done.returncode == EXIT_CODE:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def users() -> Iterator[Users]:
    if reason := lifecycle.refuse_this_machine():
        pytest.skip(reason)
    with Users() as users:
        yield users


@pytest.fixture(scope="session")
def kubeconfig(request: pytest.FixtureRequest) -> Iterator[Path]:
    if GIVEN:
        yield Path(GIVEN)
        return
    users: Users = request.getfixturevalue("users")
    packages.extend_path()
    _end_cluster_of_tests(users)  # whose run was interrupted
    _up()
    yield KUBECONFIG
    _end_cluster_of_tests(users)


def _up() -> None:
    _cluster("up", "--by-tests", timeout_s=UP_S)


def _end_cluster_of_tests(users: Users) -> None:
    """The last of them ends it; one that was made by hand stays."""
    with users.kept_away() as nobody_else:
        if nobody_else and OF_TESTS.exists():
            _cluster("down", timeout_s=DOWN_S)


@pytest.fixture(scope="session")
def own_cluster(kubeconfig: Path) -> Callable[[], None]:
    """For cases that take for granted how the cluster was made; starts it again where it ended."""
    if GIVEN:
        pytest.skip("the cluster is the one of E2E_KUBECONFIG")
    return _up


@pytest.fixture(scope="session")
def load_images(kubeconfig: Path) -> Callable[..., None]:
    """Brings podman's images into the nodes made here; a given cluster has to find them itself."""
    return lambda *images: None if GIVEN else _cluster("load", *images, timeout_s=UP_S)


@pytest.fixture(scope="session")
def admin(kubeconfig: Path) -> Kubectl:
    """kubectl for the whole cluster."""
    return Kubectl(_program("kubectl"), kubeconfig)


@pytest.fixture(scope="session")
def image(
    request: pytest.FixtureRequest, kubeconfig: Path, load_images: Callable[..., None]
) -> Image:
    """Built from this checkout, or the one of E2E_IMAGE; in every node."""
    chosen = os.environ.get("E2E_IMAGE", "")
    if GIVEN and not chosen:
        pytest.fail("E2E_IMAGE has to name an image that the cluster of E2E_KUBECONFIG can pull")
    image = named(chosen) if chosen else build()
    load_images(str(image))
    if not (GIVEN or chosen):
        _forget_older(request.getfixturevalue("users"), image)
    return image


def _forget_older(users: Users, image: Image) -> None:
    with users.kept_away() as nobody_else:
        if nobody_else:
            forget_all_but(image)


@pytest.fixture
def namespace(admin: Kubectl) -> Iterator[str]:
    with new_namespace(admin) as name:
        yield name


@pytest.fixture
def kubectl(admin: Kubectl, namespace: str) -> Kubectl:
    return admin.within(namespace)


@pytest.fixture(scope="session")
def helm_anywhere(kubeconfig: Path) -> Program:
    """Bound to no namespace."""
    return Program(_program("helm"), kubeconfig)


@pytest.fixture
def helm(helm_anywhere: Program, namespace: str) -> Program:
    return helm_anywhere.within(namespace)


@pytest.fixture
def helm4(kubeconfig: Path, namespace: str) -> Program:
    return Program(_program("helm4"), kubeconfig, namespace)


@pytest.fixture(params=["helm", "helm4"])
def either_helm(request: pytest.FixtureRequest) -> Program:
    """Each Helm that people have."""
    program: Program = request.getfixturevalue(request.param)
    return program


@pytest.fixture
def release(helm: Program, kubectl: Kubectl) -> Release:
    """Under the name that the documentation uses."""
    return Release("r3mes", helm, kubectl)


@pytest.fixture(scope="session")
def program() -> Callable[[str], Path]:
    """A program that a case wants beside the cluster, built where it is missing."""
    return _program


def _program(name: str) -> Path:
    binaries.build(tuple(it for it in binaries.BUILDS + binaries.EXTRAS if name in it.programs))
    return BIN / name
