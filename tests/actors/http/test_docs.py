"""What `docs/dashboard.md` lists is what there is: paths and metrics, no more and no less."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

OPERATIONS = Path(__file__).parents[3] / "docs" / "operations"
TEXT = (Path(__file__).parents[3] / "docs" / "dashboard.md").read_text()


def test_every_path_is_documented_and_every_documented_path_answers(live: Any) -> None:
    client = live[1]
    documented = set(re.findall(r"^\| `(/[a-z/]+)", TEXT, re.MULTILINE))
    assert {"/livez", "/readyz", "/metrics", "/api/bars", "/api/stream"} <= documented
    for path in documented - {"/api/stream"}:
        query = "?contract=CON.F.US.MNQ.Z25&timeframe=1s" if path == "/api/bars" else ""
        assert client.get(path + query).status == 200, path
    source = (Path(__file__).parents[3] / "actors" / "http" / "server.py").read_text()
    routed = set(re.findall(r"web\.get\(\"(/[a-z/]+)\"", source))
    assert documented == routed


def test_every_metric_is_documented_and_every_documented_metric_is_exposed(live: Any) -> None:
    section = TEXT[TEXT.index("## Metrics") :]
    documented = set(re.findall(r"`(tickloom_[a-z_]+)`", section))
    exposed = {
        family.name + ("_total" if family.type == "counter" else "")
        for family in text_string_to_metric_families(live[1].get("/metrics").text)
        if family.name.startswith("tickloom_")
    }
    assert documented == exposed


ADDED_BY_PROMETHEUS = {"instance", "job"}


def queries(name: str) -> list[str]:
    """What a dashboard or the alerts ask of Prometheus."""
    text = (OPERATIONS / name).read_text()
    if name.endswith(".json"):
        dashboard = json.loads(text)
        asked = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        return [
            *asked,
            *(each["query"]["query"] for each in dashboard["templating"]["list"] if each["type"] == "query"),
        ]
    folded = re.sub(r">-\n\s+(.+)\n\s+(/ .+)", r"\1 \2", text)
    return re.findall(r"expr: (.+)", folded)


@pytest.mark.parametrize(("name", "least"), [("grafana.json", 20), ("alerts.yml", 10)])
def test_what_dashboard_and_alerts_ask_for_exists_with_those_labels(name: str, least: int, live: Any) -> None:
    stream = live[1].stream("contract=CON.F.US.MNQ.Z25&timeframe=1s")
    stream.until("board", lambda board: board["health"]["staleness"])  # which is not known before the first prints
    stream.close()
    families = {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(live[1].get("/metrics").text)
        for sample in family.samples
    }
    # what has no sample before something has gone wrong, but is always declared
    silent = {"tickloom_rejected_ticks_total": {"reason"}, "tickloom_dead_letters_total": {"actor", "reason"}}
    known = silent | families
    asked = queries(name)
    assert len(asked) >= least
    for query in asked:
        metrics = set(re.findall(r"\b((?:tickloom|process)_\w+)\b(?!:)", query))
        assert metrics or "up{" in query, query
        assert metrics <= set(known), query
        labels = set(re.findall(r"[{,]\s*(\w+)\s*(?:=~|!~|!=|=)", query))
        labels |= {each.strip() for names in re.findall(r"by \(([^)]*)\)", query) for each in names.split(",")}
        there = set().union(*(known[metric] for metric in metrics)) | ADDED_BY_PROMETHEUS
        assert labels <= there, query


def test_the_panels_of_the_dashboard_have_titles_places_and_no_overlap() -> None:
    panels = json.loads((OPERATIONS / "grafana.json").read_text())["panels"]
    taken = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert panel["title"]
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
