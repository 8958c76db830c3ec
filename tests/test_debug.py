from __future__ import annotations

import re

import pytest

SECRET = "sk-shown-nowhere-1234"
SCRIPT = "python3 call {0} > /dev/null; echo $AGENTCAP_PROXY_URL {1}; printf 'half\\033[2J'; echo err-{0} >&2"


@pytest.mark.parametrize("workers", ["0", "2"])
def test_turns_are_shown_while_tests_are_captured_and_without_secrets(project, monkeypatch, workers):
    monkeypatch.setenv("HF_TOKEN", SECRET)
    project.write_shell_agent()
    project.write_jsonl(*({"id": name, "input": [SCRIPT.format(name, SECRET), "exit 3"]} for name in "ab"))
    shell = ("--agent", "shell", "--sandbox", "host", "-n", workers)
    result = project.pytest(*shell, "--agentcap-debug", "--no-mask", "-p", "no:terminalreporter")
    shown = [line for line in result.stderr.str().splitlines() if line.startswith("[a turn")]
    assert shown[0] == "[a turn 1] $ sh"
    assert shown[1].startswith("[a turn 1] in  python3 call a > /dev/null; echo $AGENTCAP_PROXY_URL agentcap-redacted-")
    assert re.fullmatch(r"\[a turn 1\] out http://127.0.0.1:\d+/<lease>/v1 agentcap-redacted-\w{8}", shown[2])
    assert sorted(shown[3:5]) == ["[a turn 1] err err-a", "[a turn 1] out half\\u001b[2J"]
    assert [re.sub(r"[\d.]+ s$", "N s", line) for line in shown[5:]] == [
        "[a turn 1] = exit code 0, N s",
        "[a turn 2] $ sh",
        "[a turn 2] in  exit 3",
        "[a turn 2] = exit code 3, N s",
    ]
    assert SECRET not in result.stderr.str() + result.stdout.str()
    assert "[b turn 2] = exit code 3" in result.stderr.str()


def test_without_the_option_nothing_is_shown_and_pytests_own_debug_is_left_alone(project):
    project.write_tasks("Say hello")
    result = project.capture()
    assert "turn 1]" not in result.stderr.str() + result.stdout.str()
    assert "taken by another plugin" not in result.stdout.str()
