"""The dashboard can be read: panels lie apart, say what they show, and leave no metric out."""

import json
from itertools import combinations
from typing import Any

from support import observability
from support.replica import Replica

BOARD = json.loads(observability.DASHBOARD.read_text())
PANELS = [panel for panel in BOARD["panels"] if panel["type"] != "row"]
UNSHOWN = {"r3mes_prompt_chunks_total"}  # of interest to who tunes the engine


def apart(one: dict[str, int], other: dict[str, int]) -> bool:
    return (
        one["x"] + one["w"] <= other["x"]
        or other["x"] + other["w"] <= one["x"]
        or one["y"] + one["h"] <= other["y"]
        or other["y"] + other["h"] <= one["y"]
    )


def test_no_panel_lies_on_another_or_outside() -> None:
    places = [panel["gridPos"] for panel in BOARD["panels"]]

    assert [] == [pair for pair in combinations(places, 2) if not apart(*pair)]
    assert all(place["x"] + place["w"] <= 24 for place in places)


def test_panels_can_be_told_apart() -> None:
    ids = [panel["id"] for panel in BOARD["panels"]]

    assert len(ids) == len(set(ids))


def test_every_panel_says_what_it_shows() -> None:
    def told(panel: dict[str, Any]) -> bool:
        return bool(panel["title"] and panel["description"].endswith("."))

    assert [] == [panel["title"] for panel in PANELS if not told(panel)]


def test_every_query_follows_what_was_chosen() -> None:
    chosen = {variable["name"] for variable in BOARD["templating"]["list"]} - {"source"}
    for query, _ in observability.legends():
        for asked in observability.selectors(query):
            assert chosen <= set(asked.labels), query


def test_every_metric_of_ours_is_shown(seen_replica: Replica) -> None:
    asked = {
        selector.metric
        for query in observability.queries().values()
        for selector in observability.selectors(query)
    }
    ours = {key[0] for key in seen_replica.metrics() if key[0].startswith(("r3mes_", "gen_ai_"))}

    def family(name: str) -> str:
        for suffix in ("_bucket", "_count", "_sum", "_created"):
            name = name.removesuffix(suffix)
        return name

    assert UNSHOWN == {family(name) for name in ours} - {family(name) for name in asked}
