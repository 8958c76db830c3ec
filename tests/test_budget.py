from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest

from pytest_agentcap import budget as module
from pytest_agentcap.budget import Budget, Ledger, LimitReached, ledger_of, used_before
from pytest_agentcap.cli import main
from pytest_agentcap.conversation.usage import Usage
from pytest_agentcap.limits import Limits, Used
from pytest_agentcap.prices import Price, Prices, PricesError
from pytest_agentcap.proxy.leases import Call
from pytest_agentcap.runs.layout import create_run
from pytest_agentcap.runs.results import SessionResult, save_result

PRICES = Prices({"org/m": Price(1.0, 10.0, 0.5)})


@dataclass
class Line:
    """Stand in for a lease: what a budget knows of one."""

    calls: list[Call] = field(default_factory=list)
    in_flight: dict[str, Any] = field(default_factory=dict)
    allowance: Any = None


class Session:
    """Make calls under a budget, whose pairs come when the test says so."""

    def __init__(self, captures, limits=Limits(), ledger=None, prices=None):  # noqa: B008
        self.captures, self.line = captures, Line()
        self.budget = Budget(limits, ledger, prices, captures, "org/m")
        self.budget.watch(self.line)

    def call(self, *tokens: int, model: str = "org/m", status: int = 200) -> str | None:
        """Ask for a call, and have it answered with this usage, or not yet without any."""
        refusal = self.line.allowance.refusal() if self.line.allowance else None
        if refusal is None:
            rid = f"{id(self.line):016x}{len(self.line.calls):016x}"
            self.line.calls.append(Call(rid, "chat", 1, 1, 0, status))
            head = {"request_id": rid, "path": "/v1/chat/completions"}
            usage = {"usage": {"prompt_tokens": tokens[0], "completion_tokens": tokens[1]}} if len(tokens) > 1 else {}
            if tokens:
                (self.captures / f"{rid}.request.json").write_text(json.dumps({**head, "body": {"model": model}}))
                (self.captures / f"{rid}.response.json").write_text(
                    json.dumps({**head, "stream": False, "body": usage})
                )
        return refusal


@pytest.fixture
def session(tmp_path):
    return lambda *args, **options: Session(tmp_path, *args, **options)


@pytest.fixture
def ledger(tmp_path):
    def make(limits, used=Used()):  # noqa: B008
        made = Ledger(tmp_path / "ledger", limits)
        made.open(used)
        return made

    return make


def test_calls_are_counted_as_they_begin(session):
    one = session(Limits(calls=2))
    assert [one.call(), one.call()] == [None, None]
    assert one.budget.reached is None
    assert one.call() == "the session's 2 calls are used up (--max-calls)"
    assert one.budget.reached is not None
    assert len(one.line.calls) == 2


def test_tokens_are_counted_when_their_pair_is_there(session):
    one = session(Limits(tokens=10))
    one.call(5, 4)
    one.call()
    one.budget.check()
    assert one.call(1, 0) is None
    one.budget.check()
    assert one.call() == "the session's 10 tokens are used up: 10 (--max-tokens)"


def test_cost_is_counted_by_the_model_that_was_asked_for(session):
    one = session(Limits(cost_usd=0.001), prices=PRICES)
    one.call(100, 50)
    one.budget.check()
    assert one.budget.cost_usd == pytest.approx(0.0006)
    one.call(100, 50, model="m")
    one.budget.check()
    assert one.call() == "the session's $0.001 are used up: $0.0012 (--max-cost)"


def test_an_unknown_price_or_count_makes_the_cost_unknown_and_not_0(session):
    one = session(prices=PRICES)
    one.call(10, 10)
    one.call(10, 10, model="tiny")
    one.budget.finish()
    assert one.budget.cost_usd is None
    other = session(prices=PRICES)
    other.call(0)
    other.budget.finish()
    assert other.budget.cost_usd is None
    assert other.budget.notes == [
        "1 calls without a token count of the upstream's: limits of tokens and cost miss them"
    ]
    assert session().budget.cost_usd is None


def test_a_call_that_the_upstream_refused_costs_nothing(session):
    one = session(prices=PRICES)
    one.call(0, status=503)
    one.budget.finish()
    assert (one.budget.cost_usd, one.budget.notes) == (0, [])


def test_a_turn_is_ended_when_its_agent_does_not_take_no_for_an_answer(session, monkeypatch):
    one = session(Limits(calls=1))
    one.call()
    one.call()
    one.budget.check()
    monkeypatch.setattr(module, "GRACE_S", 0)
    one.line.in_flight = {"a": None}
    one.budget.check()
    one.line.in_flight = {}
    with pytest.raises(LimitReached, match="1 calls are used up"):
        one.budget.check()


def test_without_limits_and_prices_nobody_is_asked(session):
    one = session()
    assert one.line.allowance is None
    one.call()
    one.budget.check()


def test_the_sessions_of_a_run_share_its_calls(session, ledger):
    limits = Limits(calls=30, prefix="--run-")
    book = ledger(limits, Used(calls=10))
    sessions = [session(ledger=book) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        told = [
            refusal
            for refusals in pool.map(lambda one: [one.call() for _ in range(10)], sessions)
            for refusal in refusals
        ]
    assert told.count(None) == 20
    assert {refusal for refusal in told if refusal} == {"the run's 30 calls are used up (--run-max-calls)"}
    assert book.exhausted() is not None
    assert any(one.budget.run_limit for one in sessions)


def test_the_sessions_of_a_run_share_its_tokens_and_dollars(session, ledger):
    book = ledger(Limits(tokens=100, cost_usd=1, prefix="--run-"))
    one, other = session(ledger=book, prices=PRICES), session(ledger=book, prices=PRICES)
    one.call(60, 39)
    one.budget.finish()
    assert book.exhausted() is None
    assert other.call(1, 0) is None
    other.budget.check()
    assert other.call() == "the run's 100 tokens are used up: 100 (--run-max-tokens)"


def test_a_run_that_is_gone_on_with_has_used_what_all_attempts_did(tmp_path):
    run = create_run(tmp_path, "pi", "local")
    (run.captures / f"{'a' * 32}.request.json").write_text("{}")
    for attempt in (1, 2):
        result = SessionResult(
            f"a{attempt}", "a", 1, "c", "s", 1, attempt, "pi", "1", "m", "host", "n", "p", 1.0, cost_usd=0.5,
            models={"m": {"calls": 1, "prompt_tokens": 3, "completion_tokens": None}},
        )  # fmt: skip
        save_result(run, result)
    assert used_before(run) == Used(1, 6, 1.0)
    assert ledger_of(tmp_path, run, Limits()) is None
    book = ledger_of(tmp_path, run, Limits(calls=1))
    assert book is not None
    book.open(used_before(run))
    assert book.exhausted() is not None


def test_input_from_a_cache_has_its_own_price():
    usage = Usage(prompt_tokens=1_000_000, completion_tokens=0, cached_tokens=400_000)
    assert Price(1.0, 10.0, 0.5).cost_usd(usage) == pytest.approx(0.8)
    assert Price(1.0, 10.0).cost_usd(usage) == pytest.approx(1.0)
    assert Price(1.0, 10.0).cost_usd(Usage(prompt_tokens=5)) is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('[models."org/m"]\ninput = 1\noutput = 2', None),
        ('[models."org/m"]\ninput = 1', "missing required field `output`"),
        ('[models."org/m"]\ninput = -1\noutput = 2', 'models."org/m": a price is a number of dollars from 0 on'),
        ("models = 3", "Expected `object`"),
        ('[models."m"]\ninput = 1\noutput = 2\nin = 3', "unknown field `in`"),
    ],
)
def test_a_price_file_is_checked(tmp_path, text, told):
    path = tmp_path / "prices.toml"
    path.write_text(text)
    if told is None:
        assert Prices.read(path).find("m") == Price(1, 2)
        assert Prices.read(path).find("other") is None
        return
    with pytest.raises(PricesError, match=str(path)) as refused:
        Prices.read(path)
    assert told in str(refused.value)


def test_limits_hold_sessions_and_the_run_over_all_workers(project, monkeypatch, capsys):
    project.write_shell_agent()
    project.write("prices.toml", "[models.scripted]\ninput = 1000\noutput = 1000\n")
    many = "for i in 1 2 3; do python3 call $i; done; echo done"
    project.write_jsonl(*({"id": f"t{n}", "input": many} for n in range(6)))
    agent = ("--agent", "shell", "--sandbox", "host")
    result = project.pytest(*agent, "--max-calls", "2", "-k", "t0", "--prices", "prices.toml")
    result.assert_outcomes(failed=1)
    [session] = project.results()
    assert (session["verdict"], session["calls"]) == ("limit", 2)
    assert session["reason"] == "the session's 2 calls are used up (--max-calls)"
    assert session["cost_usd"] > 0
    [run] = project.runs()
    options = (*agent, "--resume", run.name, "-n2")
    result = project.pytest(*options, "--run-max-calls", "10")
    found = project.results()
    assert sum(each["calls"] for each in found) == 10
    assert result.parseoutcomes()["skipped"] >= 1
    assert any(each["run_limit"] for each in found)
    monkeypatch.chdir(project.path)
    capsys.readouterr()
    assert main(["merge", run.name, "--json"]) == 1
    [told] = json.loads(capsys.readouterr().out)
    assert told["expected"] == 6
    assert len(told["missing"]) == result.parseoutcomes()["skipped"]
    assert told["infra"]
    project.write("others.toml", "[models.other]\ninput = 1\noutput = 1\n")
    again = project.pytest(*options, "-q", "--run-max-calls", "1000", "--prices", "others.toml")
    again.assert_outcomes(passed=5 - result.parseoutcomes().get("passed", 0))
    again.stdout.fnmatch_lines(["agentcap: WARNING: --prices has no scripted: its cost is unknown, and no limit of *"])
    assert project.results()[-1]["cost_usd"] is None
    latest = {each["task_id"]: each["verdict"] for each in sorted(project.results(), key=lambda each: each["attempt"])}
    assert latest == {"t0": "limit", **{f"t{n}": "captured" for n in range(1, 6)}}
