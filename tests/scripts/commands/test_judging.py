"""`tickloom replay --validate-with` shows what other rules would have done, and makes no bars."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyarrow import parquet


def test_other_rules_are_counted_by_reason_and_their_prints_are_in_a_file(
    tickloom: Callable[..., Any], log: str, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[validation]\nzero_size = "reject"\nmax_size = 3\n')
    said = tickloom("replay", log, "--validate-with", str(rules), "--out", "out", "--json").json
    assert said["prints"] == 240
    assert said["recorded"] == {"accepted": 240}
    assert said["proposed"] == {"accepted": 144, "size_large": 48, "size_zero": 48}
    assert said["changed"] == 96
    assert len(said["first"]) == 20
    table = parquet.read_table(tmp_path / "out" / "validation-changes.parquet")
    assert table.num_rows == 96
    assert set(table.column("proposed").to_pylist()) == {"size_large", "size_zero"}
    assert not (tmp_path / "out" / "bars").exists()


def test_a_rule_that_does_not_exist_is_one_line_that_says_so(
    tickloom: Callable[..., Any], log: str, tmp_path: Path
) -> None:
    (tmp_path / "rules.toml").write_text("[validation]\nmax_sise = 3\n")
    said = tickloom("replay", log, "--validate-with", "rules.toml")
    assert said.code == 2
    (line,) = [line for line in said.err if line.startswith("tickloom: ")]
    assert "rules.toml" in line
    assert "did you mean 'max_size'?" in line
