"""What is told of the model."""

import pytest

from r3mes.replica.routes.models import root_of


@pytest.mark.parametrize(
    ("source", "root"),
    [
        ("bundled", "bundled"),
        ("owner/model", "owner/model"),
        ("/srv/secret/models/mine", "mine"),
        ("~/models/mine/", "mine"),
        ("./mine", "mine"),
        ("models/of/mine", "mine"),
        ("/", ""),
    ],
)
def test_a_folder_is_told_by_its_name_alone(source: str, root: str) -> None:
    assert root == root_of(source)
