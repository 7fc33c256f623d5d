"""Releases side by side, and what a release says when it is installed."""

import shutil
from pathlib import Path
from typing import Any

from support.chart import CHART, Chart, model, named, of_kind


def test_two_releases_in_one_namespace_share_nothing(chart: Chart) -> None:
    one, two = chart.render(release="one"), chart.render(release="two")

    assert set() == names(one) & names(two)
    for ours, theirs in ((one, two), (two, one)):
        for selector in selectors(ours):
            assert [] == [pod for pod in pod_labels(theirs) if selector.items() <= pod.items()]


def test_two_models_of_a_release_share_no_pods(chart: Chart) -> None:
    things = chart.render({"models": [{"name": "a"}, {"name": "b"}]})

    deployments = of_kind(things, "Deployment")
    assert ["r3mes-a", "r3mes-b"] == list(map(named, deployments))
    found = [
        [name for name, labels in zip("ab", pod_labels(things), strict=True) if selected(s, labels)]
        for s in selectors(things)
    ]
    assert [["a"], ["b"]] * 2 == found  # two Deployments, two Services


def test_names_that_yaml_takes_for_numbers_or_truth_stay_names(chart: Chart) -> None:
    models = [{"name": name} for name in ("7", "true", "null")]
    values = {"fullnameOverride": "llm", "models": models}

    things = chart.render(values, release="12")

    labels = [thing["metadata"]["labels"] for thing in things] + pod_labels(things)
    selected_by = selectors(things)
    assert {str} == {type(it) for each in labels + selected_by for it in each.values()}


def test_a_release_that_holds_the_name_is_not_named_twice(chart: Chart) -> None:
    assert "my-r3mes-m" in {name for _, name in names(chart.render(model(), release="my-r3mes"))}
    assert "my-r3mes-m" in {name for _, name in names(chart.render(model(), release="my"))}
    called = {"fullnameOverride": "llm", **model()}
    assert "llm-m" in {name for _, name in names(chart.render(called))}


def test_another_name_changes_no_selector(chart: Chart) -> None:
    called = chart.render({"fullnameOverride": "llm"})

    assert selectors(chart.render()) == selectors(called)


def names(things: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(thing["kind"], named(thing)) for thing in things}


def selected(selector: dict[str, str], labels: dict[str, str]) -> bool:
    return selector.items() <= labels.items()


def selectors(things: list[dict[str, Any]]) -> list[dict[str, str]]:
    found = [x["spec"]["selector"]["matchLabels"] for x in of_kind(things, "Deployment")]
    return found + [x["spec"]["selector"] for x in of_kind(things, "Service")]


def pod_labels(things: list[dict[str, Any]]) -> list[dict[str, str]]:
    deployments = of_kind(things, "Deployment")
    return [each["spec"]["template"]["metadata"]["labels"] for each in deployments]


# What `helm install` prints. It takes a cluster to print it, so the text is rendered as a value.


def notes(chart: Chart, folder: Path, values: dict[str, Any] | None = None) -> str:
    copy = folder / "r3mes"
    shutil.copytree(CHART, copy)
    templates = copy / "templates"
    (templates / "NOTES.txt").rename(copy / "notes")
    (templates / "notes.yaml").write_text(
        'kind: Notes\ntext: |-\n  {{- tpl (.Files.Get "notes") . | nindent 2 }}\n'
    )
    [made] = of_kind(chart.render(values, folder=str(copy)), "Notes")
    return str(made["text"])


def test_the_notes_have_the_exact_first_commands(chart: Chart, tmp_path: Path) -> None:
    lines = [line.strip() for line in notes(chart, tmp_path).splitlines()]

    assert "kubectl --namespace default rollout status deployment/r3mes-tiny" in lines
    assert "kubectl --namespace default port-forward svc/r3mes 8000:8000" in lines
    assert r"curl http://127.0.0.1:8000/v1/chat/completions \ ".strip() in lines
    assert "helm test r3mes --namespace default --logs" in lines
    assert [] == [line for line in lines if "There is no Service" in line]


def test_the_notes_of_several_models_name_the_services(chart: Chart, tmp_path: Path) -> None:
    values = {"models": [{"name": "a"}, {"name": "b"}], "service": {"port": 80}}

    said = notes(chart, tmp_path, values)

    assert "port-forward svc/r3mes-a 8000:80" in said
    assert "There is no Service r3mes " in said
    assert "r3mes-a:80" in said
    assert "r3mes-b:80" in said


def test_the_notes_tell_of_keys_and_of_none(chart: Chart, tmp_path: Path) -> None:
    keyed = notes(chart, tmp_path / "keyed", {"auth": {"existingSecret": "mine"}})
    assert '-H "Authorization: Bearer $R3MES_KEY"' in keyed
    assert "R3MES_KEY is a key of the Secret mine." in keyed
    assert "set test.existingSecret" in keyed

    ingress = {"enabled": True, "hosts": [{"host": "a.x"}]}
    values = {"auth": {"allowAnonymous": True}, "ingress": ingress}
    assert "open to everyone" in notes(chart, tmp_path / "open", values)
