from __future__ import annotations

import pytest

from pytest_agentcap.telemetry.exit_codes import exit_code_in


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("exit code: 3\nboom\n", 3),
        ("exit_code: 0\nstdout: x", 0),
        ("Exit code 127\nbash: nosuch: command not found", 127),
        ("boom\n\nCommand exited with code 1", 1),
        ("Chunk ID: ab12\nWall time: 0.1 seconds\nProcess exited with code 2\nOutput:\nx", 2),
        ("Command: false\nDirectory: (root)\nOutput: (empty)\nExit Code: 1\nSignal: (none)", 1),
        ("<returncode>1</returncode>\n<output>\nx</output>", 1),
        ('{"output": "exit code 9 seen", "exit_code": 0, "error": null}', 0),
        ('{"output": "", "metadata": {"exit_code": 2}}', 2),
        ("exit code: -9\n", -9),
    ],
)
def test_the_exit_code_is_read_as_agents_write_it(text, code):
    assert exit_code_in(text) == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "killed after 120 s\n",
        "a\nb\nc\nd\nexit code: 3\ne\nf\ng\nh",
        "the manual says that it ends with exit code 3 when no file was found there",
        "Exit Code: (none)",
    ],
)
def test_what_a_tool_prints_itself_is_no_exit_code(text):
    assert exit_code_in(text) is None


def test_a_json_result_is_not_misled_by_its_output():
    assert exit_code_in('{"exit_code": 4, "output": "bye"}') == 4
