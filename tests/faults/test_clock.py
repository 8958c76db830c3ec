"""A clock that is put back and forward by a day while an agent works."""

from __future__ import annotations

import pyarrow.parquet as pq

from pytest_agentcap.cli import main

SHIFTED = """
    import time
    from pathlib import Path

    OFFSET, real, real_ns = Path(__file__).with_name("offset"), time.time, time.time_ns

    def offset():
        return int(OFFSET.read_text()) if OFFSET.exists() else 0

    time.time = lambda: real() + offset()
    time.time_ns = lambda: real_ns() + offset() * 10**9
"""


def test_a_clock_that_jumps_changes_neither_order_nor_durations_nor_verdicts(project, monkeypatch):
    project.write_shell_agent()
    project.write("conftest.py", SHIFTED)
    move = "echo {} > %s.new; mv %s.new %s; python3 call {}" % ((project.path / "offset",) * 3)
    jumps = "; ".join(["python3 call one", move.format(-86400, "two"), move.format(86400, "three")])
    project.write_jsonl({"id": "a", "input": jumps}, {"id": "b", "input": move.format(-172800, "four")})
    result = project.pytest("--agent", "shell", "--sandbox", "host", "--turn-timeout", "120")
    result.assert_outcomes(passed=2)
    first, second = project.results()
    assert (first["verdict"], first["calls"], second["verdict"]) == ("captured", 3, "captured")
    assert all(0 <= turn["duration_s"] < 120 for each in (first, second) for turn in each["turns"])
    [run] = project.runs()
    rows = pq.read_table(run / "captures.parquet", columns=["request", "duration_ms", "complete"]).to_pylist()
    said = [word for row in rows for word in ("one", "two", "three", "four") if f'"{word}"' in row["request"]]
    assert said == ["one", "two", "three", "four"]
    assert all(row["complete"] and 0 <= row["duration_ms"] < 120_000 for row in rows)
    monkeypatch.chdir(project.path)
    assert main(["merge", run.name, "-o", "all.parquet"]) == 0
