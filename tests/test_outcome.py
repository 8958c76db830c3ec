from __future__ import annotations

from pathlib import Path

import pytest

from pytest_agentcap.grading.base import GraderResult
from pytest_agentcap.grading.combine import Graded
from pytest_agentcap.outcome import Outcome, Turn, judge, report_section
from pytest_agentcap.proxy.leases import Call
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.tally import Tally


def turn(returncode: int | None = 0, stderr: str = "", number: int = 1) -> Turn:
    return Turn(number, "go", "went", returncode, returncode is None, 2.4, stderr)


def call(status: int | None = 200, error: str | None = None, index: int = 1) -> Call:
    return Call("ab" * 16, "chat", 1, index, 0, status, error, 12.6)


def grade(passed: bool, reasoning: str | None = None) -> GraderResult:
    return GraderResult("check", passed, 0.25, reasoning, None, 0.1)


@pytest.mark.parametrize(
    ("turns", "calls", "told", "verdict"),
    [
        ([turn()], [call()], {}, ("captured", None)),
        ([turn()], [call()], {"graded": Graded((grade(True),))}, ("passed", None)),
        ([turn()], [call()], {"graded": Graded((grade(True), grade(False, "no file")))}, ("failed", "check: no file")),
        ([turn()], [call()], {"graded": Graded((grade(False),))}, ("failed", "check: score 0.25")),
        ([turn()], [call()], {"graded": Graded((grade(True),), "check: crashed")}, ("grader_error", "check: crashed")),
        ([turn()], [], {}, ("no_calls", "the agent made no model call")),
        ([], [], {}, ("no_calls", "the agent made no model call")),
        ([turn()], [], {"bypass": True}, ("captured", None)),
        ([turn()], [], {"bypass": True, "graded": Graded((grade(True),))}, ("passed", None)),
        ([turn()], [call(503)], {"bypass": True}, ("infra", "the upstream answered 503")),
        ([turn(3)], [], {}, ("agent_error", "turn 1 ended with exit code 3")),
        (
            [turn(), turn(3, "one\ntwo \n\n", 2)],
            [call()],
            {"abort": "follow-up-turn-failed"},
            ("agent_error", "turn 2 ended with exit code 3: two"),
        ),
        ([turn(None)], [call()], {}, ("agent_timeout", "turn 1 was ended after 2 s")),
        ([turn(None)], [call(None)], {}, ("agent_timeout", "turn 1 was ended after 2 s")),
        ([turn()], [call()], {"abort": "no-session-id"}, ("agent_error", "no-session-id")),
        ([turn(1)], [call(), call(503)], {}, ("infra", "the upstream answered 503")),
        ([turn(None)], [call(), call(429)], {}, ("infra", "the upstream answered 429")),
        ([turn(1)], [call(503), call()], {}, ("agent_error", "turn 1 ended with exit code 1")),
        ([turn()], [call(503), call()], {}, ("captured", None)),
        ([turn()], [call(), call(503)], {}, ("captured", None)),
        ([turn()], [call(401)], {}, ("infra", "the upstream answered 401")),
        ([turn()], [call(400)], {}, ("agent_error", "no call was answered")),
        ([turn(1)], [call(502, "upstream_refused")], {}, ("infra", "the upstream failed: upstream refused")),
        ([turn(1)], [call(200, "upstream_reset")], {}, ("infra", "the upstream failed: upstream reset")),
        ([turn(1)], [call(200, "client_gone")], {}, ("agent_error", "turn 1 ended with exit code 1")),
        ([turn()], [call()], {"infra": "no space", "graded": Graded((grade(True),))}, ("infra", "no space")),
        ([turn(1)], [call()], {"used_up": "5 calls"}, ("limit", "5 calls")),
        ([turn()], [], {"used_up": "5 calls"}, ("limit", "5 calls")),
        ([turn()], [], {"used_up": "5 calls", "infra": "no space"}, ("infra", "no space")),
        (
            [Turn(1, "go", "", None, True, 10.0, "", None, 6.0)],
            [call()],
            {},
            ("infra", "turn 1 ran out of time: calls were held back for 6 of its 10 s"),
        ),
        (
            [Turn(1, "go", "", None, True, 10.0, "", None, 4.0)],
            [call()],
            {},
            ("agent_timeout", "turn 1 was ended after 10 s"),
        ),
    ],
)
def test_verdicts(turns, calls, told, verdict):
    rest = {"infra": None, "abort": None, "graded": Graded(), **told}
    assert judge(turns, calls, **rest) == verdict


def outcome(verdict: str, reason: str | None, turns: tuple[Turn, ...], calls: tuple[Call, ...]) -> Outcome:
    return Outcome(
        verdict,
        reason,
        turns,
        calls,
        (),
        RunDirectory(Path("/x/run")),
        "s",
        Tally({"ab" * 16: (7, None)}, {}),
        None,
        Path,
    )


def test_check_fails_with_verdict_and_reason_unless_the_session_is_good():
    for verdict in ("captured", "passed"):
        outcome(verdict, None, (), ()).check()
    for verdict in ("failed", "no_calls", "agent_error", "agent_timeout", "grader_error", "limit", "infra"):
        with pytest.raises(pytest.fail.Exception, match=f"^{verdict}: because$"):
            outcome(verdict, "because", (), ()).check()


def test_a_failing_test_shows_calls_last_stderr_lines_and_captures():
    stderr = "".join(f"line {n}\n" for n in range(30)) + "\x1b[2Jboom\n"
    calls = tuple(call(index=n) for n in range(1, 51))
    lines = report_section(outcome("agent_error", "it broke\x07", (turn(1, stderr),), calls)).splitlines()
    assert lines[0] == "agent_error: it broke\\u0007"
    assert lines[2].split() == ["call", "turn", "api", "status", "ms", "tokens"]
    table = [line.split() for line in lines if " chat " in line]
    assert table[0] == ["11", "1", "chat", "200", "13", "7+?"]
    assert len(table) == 40
    said = lines[lines.index("last stderr lines of turn 1:") + 1 :]
    assert said[:15] == [*(f"  line {n}" for n in range(16, 30)), "  \\u001b[2Jboom"]
    assert said[16:] == ["captures: /x/run/captures", "logs:     /x/run/sessions/s_turn_*"]
    assert "(none)" in report_section(outcome("no_calls", None, (), ()))


def test_reply_is_what_the_agent_said_last():
    assert outcome("captured", None, (), ()).reply == ""
    assert outcome("captured", None, (turn(),), ()).reply == "went"
