from __future__ import annotations

import json

from pytest_agentcap.live import status_text


def write(folder, name: str, **status: object) -> None:
    (folder / f"{name}.json").write_text(json.dumps({"task": name, "turn": 1, "calls": 0, "last_call": None} | status))


def test_the_line_tells_task_turn_calls_and_seconds_since_the_last_call(tmp_path):
    write(tmp_path, "a")
    write(tmp_path, "b", turn=2, calls=7, last_call=95.4)
    assert status_text(tmp_path, 100.0, 200) == "a turn 1: 0 calls · b turn 2: 7 calls, last 5 s ago"
    assert status_text(tmp_path, 90.0, 200).endswith("last 0 s ago")
    assert status_text(tmp_path, 100.0, 12) == "a turn 1: 0 "


def test_a_status_that_is_gone_or_half_there_is_left_out(tmp_path):
    (tmp_path / "a.json").write_text("{")
    assert status_text(tmp_path, 0.0, 80) == ""
    assert status_text(tmp_path / "missing", 0.0, 80) == ""
