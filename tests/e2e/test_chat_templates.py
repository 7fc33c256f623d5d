"""A model's chat template comes from a ConfigMap of the namespace."""

from pathlib import Path

import httpx
import pytest

from e2e.asking import PATH, body
from e2e.clients import Kubectl
from e2e.image import Image
from e2e.releases import Release, small

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300, func_only=True)]

SHORT = "{% for message in messages %}{{ message.content }}{% endfor %}"


def test_a_template_of_a_config_map_goes_over_the_checkpoints(
    kubectl: Kubectl, release: Release, image: Image, tmp_path: Path
) -> None:
    file = tmp_path / "template.jinja"
    file.write_text(SHORT)
    release.deploy(small(image))
    release.wait_ready()
    own = prompt_tokens(release)
    kubectl("create", "configmap", "chat-template", f"--from-file={file}")
    release.deploy(small(image, modelDefaults={"chatTemplate": {"configMap": "chat-template"}}))
    release.wait_ready()

    assert 0 < prompt_tokens(release) < own  # the words alone


def prompt_tokens(release: Release) -> int:
    with release.reached() as url:
        answer = httpx.post(f"{url}{PATH}", json=body(max_tokens=1), timeout=60)
    answer.raise_for_status()
    return int(answer.json()["usage"]["prompt_tokens"])
