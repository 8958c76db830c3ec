from __future__ import annotations

from collections.abc import Callable

import pytest

from pytest_agentcap.corpus.task import Task
from pytest_agentcap.upstream.exchange import Answer, Message, Request, Text, Tool, ToolCall
from pytest_agentcap.upstream.script import find_position, next_answer, scripts_of, split_commands

BASH = Tool("bash", schema={"type": "object", "properties": {"command": {"type": "string"}}})


def answer_to(task: Task, *messages: Message, tools: tuple[Tool, ...] = (BASH,)) -> Answer:
    request = Request("m", messages, tools, stream=False, include_usage=False, digest="0" * 64, prompt_tokens=1)
    return next_answer(request, scripts_of(task))


@pytest.mark.parametrize(
    ("reference", "commands"),
    [
        ("echo a", ("echo a",)),
        ("echo a\necho b\n\n\n  \necho c\n", ("echo a\necho b", "echo c")),
        ("cat > f <<'EOF'\na\n\nb\nEOF\n\nwc f", ("cat > f <<'EOF'\na\n\nb\nEOF", "wc f")),
        ("cat > f <<-END\n\ta\n\n\tEND\nls", ("cat > f <<-END\n\ta\n\n\tEND\nls",)),
        ("grep a <<< word\n\necho $((1 << width))\n\nls", ("grep a <<< word", "echo $((1 << width))", "ls")),
        ("\n\n", ()),
    ],
)
def test_blank_lines_split_a_reference_except_inside_here_documents(reference: str, commands: tuple[str, ...]) -> None:
    assert split_commands(reference) == commands


def test_the_longest_prompt_in_a_message_wins(make_task: Callable[..., Task]) -> None:
    short, long = make_task("Write a file"), make_task("Write a file named b", task_id="b")
    scripts = (*scripts_of(long), *scripts_of(short))

    position = find_position([Message("user", "Please: Write a file\n named b. Thanks")], scripts)

    assert position is not None
    assert position.script == scripts_of(long)[0]


def test_of_equal_prompts_the_last_learned_wins(make_task: Callable[..., Task]) -> None:
    first, second = make_task("Same", references=("echo 1",)), make_task("Same", references=("echo 2",), task_id="b")

    position = find_position([Message("user", "Same")], (*scripts_of(first), *scripts_of(second)))

    assert position is not None
    assert position.script.commands == ("echo 2",)


def test_a_prompt_counts_only_in_user_messages(make_task: Callable[..., Task]) -> None:
    messages = [
        Message("system", "Write a file"),
        Message("tool", "Write a file"),
        Message("assistant", "Write a file"),
    ]

    assert find_position(messages, scripts_of(make_task("Write a file"))) is None


def test_a_prompt_that_the_agent_has_quoted_is_found(make_task: Callable[..., Task]) -> None:
    task = make_task('Write "hello"   into\ta file')

    assert find_position([Message("user", '"Write \\"hello\\" into a file"')], scripts_of(task)) is not None


def test_a_prompt_that_the_agent_has_put_spaces_into_is_found(make_task: Callable[..., Task]) -> None:
    task = make_task("Connect to app@db/main\n")

    assert find_position([Message("user", "Connect to app @db/main\n\n")], scripts_of(task)) is not None


def test_an_empty_prompt_matches_nothing(make_task: Callable[..., Task]) -> None:
    assert find_position([Message("user", "Anything")], scripts_of(make_task(" "))) is None


def test_only_results_after_the_last_prompt_count(make_task: Callable[..., Task]) -> None:
    task = make_task("One", "Two", references=("echo 1", "echo 2\n\necho 3"))
    history = (Message("user", "One"), Message("tool", "1"), Message("assistant", "ok"), Message("user", "Two"))

    second = answer_to(task, *history)
    third = answer_to(task, *history, Message("tool", "2"))
    final = answer_to(task, *history, Message("tool", "2"), Message("tool", "3"))

    assert isinstance(second, ToolCall)
    assert second.command == "echo 2"
    assert isinstance(third, ToolCall)
    assert third.command == "echo 3"
    assert isinstance(final, Text)


def test_a_prompt_sent_twice_gets_tool_calls_with_different_ids(make_task: Callable[..., Task]) -> None:
    task = make_task("One", references=("echo 1",))
    prompt = Message("user", "One")

    first = answer_to(task, prompt)
    again = answer_to(task, prompt, Message("tool", "1"), Message("assistant", "ok"), prompt)

    assert isinstance(first, ToolCall)
    assert isinstance(again, ToolCall)
    assert first.command == again.command
    assert first.id != again.id
    assert first == answer_to(task, prompt)


def test_a_prompt_without_a_reference_is_told_so(make_task: Callable[..., Task]) -> None:
    answer = answer_to(make_task("One", "Two", references=("echo 1",)), Message("user", "Two"))

    assert answer == Text("There is no reference for this prompt: Two")


def test_a_title_request_gets_the_first_words_of_the_prompt(make_task: Callable[..., Task]) -> None:
    task = make_task("Write the numbers from one to ten into a file", references=("seq 10 > f",))
    messages = (Message("system", "You generate a title."), Message("user", task.prompt))

    assert answer_to(task, *messages, tools=()) == Text("Write the numbers from one to")


def test_without_a_shell_tool_nothing_is_run(make_task: Callable[..., Task]) -> None:
    task = make_task("Write a file", references=("touch f",))

    answer = answer_to(task, Message("user", "Write a file"), tools=(Tool("read_file"),))

    assert answer == Text("Write a file: no shell tool is offered, nothing is run.")
