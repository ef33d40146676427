"""What `docs/dashboard.md` lists is what there is: paths and metrics, no more and no less."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

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
