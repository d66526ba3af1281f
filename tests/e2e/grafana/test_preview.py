"""Every panel of every dashboard, drawn by Grafana's own libraries in Chromium over the traffic of the real store."""

from __future__ import annotations

from typing import Any, Final

import pytest
from clickhouse_connect.driver.client import Client

from tests.grafana.dashboards import dashboards
from tests.grafana.preview.browser import Drawn, Panel, draw
from tests.grafana.preview.pages import page
from tests.grafana.preview.picks import picks
from tests.grafana.traffic import Traffic

# Node and the browser are given two times two minutes.
pytestmark = pytest.mark.timeout(600)
BROKEN: Final = "broken"
"""A dashboard made to be seen as such."""

Pages = dict[str, Any]


@pytest.fixture(scope="module")
def pages(reader: Client, traffic: Traffic) -> Pages:
    return {name: page(name, reader, now_s=traffic.now_s, picks=picks(name, reader)) for name in dashboards()}


@pytest.fixture(scope="module")
def drawn(pages: Pages, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Drawn]:
    return draw(pages | {BROKEN: _broken()}, tmp_path_factory.mktemp("drawn"))


@pytest.mark.parametrize("name", [*dashboards()])
def test_every_panel_of_a_dashboard_shows_something(pages: Pages, drawn: dict[str, Drawn], name: str) -> None:
    shown = [panel for panel in pages[name]["dashboard"]["panels"] if panel["type"] != "row"]
    assert {panel.id for panel in drawn[name].panels} == {panel["id"] for panel in shown}
    assert [panel for panel in drawn[name].panels if not panel.shows] == []
    assert drawn[name].complaints == []


@pytest.mark.parametrize("name", [*dashboards()])
def test_a_series_of_a_text_is_named_by_the_text(pages: Pages, name: str) -> None:
    """Grafana puts the column's name before it otherwise, and a colour that was set for the text is not used."""
    for panel in pages[name]["dashboard"]["panels"]:
        fields = [field for frame in pages[name]["panels"][panel["id"]]["frames"] for field in frame["fields"]]
        labels = {label for field in fields for label in field.get("labels", {})}
        if labels:
            assert panel["fieldConfig"]["defaults"]["displayName"] == f"${{__field.labels.{labels.pop()}}}", panel[
                "title"
            ]
            assert not labels


def test_what_is_not_drawn_is_seen(drawn: dict[str, Drawn]) -> None:
    found = {panel.title: panel for panel in drawn[BROKEN].panels}
    assert {title for title, panel in found.items() if panel.shows} == {"One point", "One number", "A row"}
    assert found["No points"].said == "No data"
    assert found["Only nothing"].said == "No data"
    assert found["No number"].said == "No data"
    assert found["No rows"].said == "No data"
    assert found["Refused"].said == "Code: 47. Unknown identifier"
    assert "canvas" in found["Unknown"].said
    assert isinstance(found["Off the axis"], Panel)
    assert not found["Off the axis"].said, "there is data, but nobody sees it"


def test_a_picture_is_as_wide_as_a_screen(drawn: dict[str, Drawn]) -> None:
    head = drawn[BROKEN].picture.read_bytes()[:24]
    assert head[1:4] == b"PNG"
    assert int.from_bytes(head[16:20]) == 1600


START_MS: Final = 1_760_000_000_000
HOUR_MS: Final = 3_600_000


def _broken() -> dict[str, Any]:
    point = [{"name": "time", "type": "time", "values": [START_MS + 60_000]}, _numbers(1.0)]
    nothing = [{"name": "time", "type": "time", "values": [START_MS + 60_000]}, _numbers(None)]
    early = [{"name": "time", "type": "time", "values": [START_MS - HOUR_MS]}, _numbers(1.0)]
    panels = {
        "One point": ("timeseries", point, ""),
        "No points": ("timeseries", None, ""),
        "Only nothing": ("timeseries", nothing, ""),
        "Off the axis": ("timeseries", early, ""),
        "One number": ("stat", [_numbers(3.0)], ""),
        "No number": ("stat", [_numbers(None)], ""),
        "A row": ("table", [_numbers(3.0)], ""),
        "No rows": ("table", [_numbers()], ""),
        "Refused": ("table", None, "Code: 47. Unknown identifier"),
        "Unknown": ("canvas", point, ""),
    }
    return {
        "dashboard": {
            "title": "Broken",
            "panels": [
                {"id": number, "title": title, "type": kind, "gridPos": {"x": 0, "y": 6 * number, "w": 12, "h": 6}}
                for number, (title, (kind, _, _)) in enumerate(panels.items())
            ],
        },
        "range": {"from": START_MS, "to": START_MS + HOUR_MS, "text": "an hour"},
        "variables": [],
        "panels": {
            number: {"frames": [] if fields is None else [{"refId": "A", "fields": fields}], "error": error}
            for number, (_, fields, error) in enumerate(panels.values())
        },
    }


def _numbers(*values: float | None) -> dict[str, Any]:
    return {"name": "value", "type": "number", "values": values}
