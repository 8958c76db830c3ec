from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.faults import UpstreamFault, UpstreamWatch
from pytest_agentcap.proxy.leases import Call

RETRIES = "for i in $(seq {}); do python3 call $i; sleep 0.2; done; echo through"


@dataclass
class Line:
    """Stand in for a lease: what a watch knows of one."""

    in_flight: dict[str, Any] = field(default_factory=dict)
    on_end: Any = None
    halt: str | None = None


class Upstream:
    """End calls one after another under the eyes of a watch."""

    def __init__(self, captures: Path) -> None:
        self.captures, self.line = captures, Line()
        self.watch = UpstreamWatch(self.line, captures, "org/big", "http://u")  # type: ignore[arg-type]
        self.calls = 0

    def end(self, status: int | None = 200, error: str | None = None, model: str = "org/big", paired: bool = True):
        self.calls += 1
        rid = f"{self.calls:032x}"
        if paired:
            document = {"request_id": rid, "path": "/v1/chat/completions", "body": {"model": model}}
            (self.captures / f"{rid}.request.json").write_text(json.dumps(document))
        self.line.on_end(Call(rid, "chat", 1, self.calls, 0, status, error, 1.0))

    def fault(self) -> str | None:
        try:
            self.watch.check()
        except UpstreamFault as error:
            return str(error)
        return None


@pytest.fixture
def upstream(tmp_path):
    return Upstream(tmp_path)


@pytest.mark.parametrize(
    ("status", "error", "what", "count"),
    [
        (401, None, "answered 401", 3),
        (403, None, "answered 403", 3),
        (404, None, "answered 404", 3),
        (502, "upstream_refused", "failed: upstream refused", 3),
        (500, None, "answered 500", 6),
        (429, None, "answered 429", 6),
        (200, "upstream_reset", "failed: upstream reset", 6),
        (502, "bad_gateway", "failed: bad gateway", 6),
    ],
)
def test_only_so_many_failures_in_a_row_are_a_fault(upstream, status, error, what, count):
    for _ in range(count - 1):
        upstream.end(status, error)
    assert upstream.fault() is None
    upstream.end(status, error)
    assert upstream.fault() == f"the upstream http://u {what}, {count} calls in a row"


def test_a_lease_that_was_halted_is_a_fault_at_once(tmp_path):
    upstream = Upstream(tmp_path)
    upstream.line.halt = "replay: call 1 is not in the recording"
    with pytest.raises(UpstreamFault, match="replay: call 1 is not in the recording"):
        upstream.watch.check()


@pytest.mark.parametrize(("status", "error"), [(200, None), (400, None)])
def test_a_call_that_is_answered_begins_the_count_anew(upstream, status, error):
    for _ in range(4):
        upstream.end(401)
        upstream.end(401)
        upstream.end(status, error)
    assert upstream.fault() is None


def test_what_our_side_broke_off_neither_counts_nor_helps(upstream):
    for _ in range(2):
        upstream.end(404)
        upstream.end(None, "client_gone")
    assert upstream.fault() is None
    upstream.end(404)
    assert upstream.fault()


def test_nothing_is_judged_while_a_call_is_on_its_way(upstream):
    upstream.line.in_flight["x"] = None
    for _ in range(9):
        upstream.end(401)
    assert upstream.fault() is None
    upstream.line.in_flight.clear()
    assert upstream.fault()


def test_a_second_model_that_the_upstream_does_not_have_ends_nothing(upstream):
    for _ in range(9):
        upstream.end(404, model="small")
    assert upstream.fault() is None
    for _ in range(3):
        upstream.end(404, model="big")
    assert upstream.fault() == "the upstream http://u answered 404, 3 calls in a row"


def test_calls_whose_model_is_not_known_yet_are_waited_for(upstream):
    for _ in range(3):
        upstream.end(401, paired=False)
    assert upstream.fault() is None


@pytest.mark.parametrize(("status", "calls"), [(401, 3), (503, 6)])
def test_a_persistent_fault_ends_the_turn_and_is_infra(project, http_upstream, status, calls):
    project.write_shell_agent()
    project.write_jsonl({"id": "a", "input": ["echo begun; " + RETRIES.format(600), "never"]})
    # The preflight asks for the models, and is answered.
    with http_upstream(lambda path: (200, b"{}") if path.endswith("models") else (status, b"{}")) as upstream:
        model = ("--model", "m", "--upstream", upstream.url)
        result = project.pytest("--agent", "shell", "--sandbox", "host", *model)
        result.assert_outcomes(failed=1)
        result.stdout.fnmatch_lines([f"infra: turn 1 was ended: the upstream {upstream.url} answered {status}, *"])
    [kept], [run] = project.results(), project.runs()
    assert (kept["verdict"], kept["abort_reason"]) == ("infra", "initial-turn-failed")
    assert calls <= kept["calls"] < 60
    assert [(turn["returncode"], turn["timed_out"]) for turn in kept["turns"]] == [(None, False)]
    assert (run / "sessions/a_turn_01.out").read_text().startswith("begun\n")
    assert len(list(run.glob("captures/*.response.json"))) == kept["calls"]


def test_an_error_that_passes_ends_nothing(project, http_upstream):
    project.write_shell_agent()
    project.write_jsonl({"id": "a", "input": RETRIES.format(4)})
    answers = iter([503, 503, 200, 500, 200, 200, 200])
    with http_upstream(lambda path: (200 if path.endswith("models") else next(answers), b"{}")) as upstream:
        model = ("--model", "m", "--upstream", upstream.url)
        project.pytest("--agent", "shell", "--sandbox", "host", *model).assert_outcomes(passed=1)
    [kept] = project.results()
    assert (kept["calls"], kept["turns"][0]["reply"].endswith("through")) == (4, True)
