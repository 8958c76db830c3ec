from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from pytest_agentcap.followup.base import CONTINUE, TEMPLATES, Draft, Said, next_prompt
from pytest_agentcap.followup.synthesized import MOST_WORDS, DraftError, Synthesizer, tidy
from pytest_agentcap.proxy.apis import Upstream

SAID = [Said("Write a parser", "I wrote parser.py.")]
ANSWERS = {
    "/v1/chat/completions": {"choices": [{"message": {"content": "Show its tests."}}]},
    "/v1/responses": {
        "output": [
            {"type": "reasoning", "summary": []},
            {"type": "message", "content": [{"type": "output_text", "text": "Show its tests."}]},
        ]
    },
    "/v1/messages": {"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "Show its tests."}]},
    "/v1beta/models/org/model-9:generateContent": {
        "candidates": [{"content": {"parts": [{"text": "hm", "thought": True}, {"text": "Show its tests."}]}}]
    },
}


def serving(*paths: str) -> Callable[[str], tuple[int, bytes]]:
    return lambda path: (200, json.dumps(ANSWERS[path]).encode()) if path in paths else (404, b"{}")


@pytest.mark.parametrize(("api", "path"), list(zip(("chat", "responses", "messages", "gemini"), ANSWERS, strict=True)))
def test_an_upstream_without_chat_completions_is_asked_in_the_agents_own_api(http_upstream, api, path):
    with http_upstream(serving(path)) as upstream:
        drafted = Synthesizer(Upstream(upstream.url, "sk-test"), "org/model-9", api).draft(2, SAID)
    assert drafted == Draft("Show its tests.")
    assert [seen for seen, _ in upstream.seen] == list(dict.fromkeys(("/v1/chat/completions", path)))
    headers = upstream.seen[-1][1]
    assert "sk-test" in headers.get({"messages": "x-api-key", "gemini": "x-goog-api-key"}.get(api, "authorization"))


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ((500, b"{}"), "the upstream answered 500"),
        ((404, b"{}"), "the upstream answered 404"),
        ((200, b"no json"), "the upstream's answer holds no text"),
        ((200, b'{"choices": []}'), "the upstream's answer holds no text"),
        ((200, b'{"choices": [{"message": {"content": null}}]}'), "the upstream's answer holds no text"),
        ((200, b'{"choices": [{"message": {"content": " "}}]}'), "the draft is empty"),
    ],
)
def test_without_a_draft_continue_is_said_with_the_reason(http_upstream, answer, why):
    with http_upstream(lambda _: answer) as upstream:
        drafted = Synthesizer(Upstream(upstream.url), "m", "responses").draft(3, SAID)
    assert drafted == Draft("continue", f"turn 3: 'continue' was said, no follow-up was drafted: {why}")


def test_an_upstream_that_is_not_there_is_a_reason_too():
    drafted = Synthesizer(Upstream("http://127.0.0.1:9"), "m").draft(2, SAID)
    assert drafted.prompt == "continue"
    assert "gave no answer (ConnectError)" in str(drafted.note)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("  Show\nthe\x00 tests. ", "Show the tests."),
        ('"Show the tests."', "Show the tests."),
        ('User: "Show the tests."', "Show the tests."),
        ("Follow-up: show it", "show it"),
        ("<think>what now?</think>\nShow it.", "Show it."),
        ("so, what now?</think>Show it.", "Show it."),
        ("One two. " + "word " * 29, "One two."),
        ("w " * MOST_WORDS, ("w " * MOST_WORDS).strip()),
        ("Fix `main` and 'x'", "Fix `main` and 'x'"),
    ],
)
def test_a_draft_is_one_line_without_what_models_put_around_it(said, kept):
    assert tidy(said, "org/model-9") == kept


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("<think>and so on", "empty"),
        ("w " * (MOST_WORDS + 1), "31 words"),
        ("As an AI language model, I cannot continue.", "author"),
        ("I am a coding assistant: show it.", "author"),
        ("Hello from Model-9, show it.", "author"),
    ],
)
def test_a_draft_that_is_too_long_or_names_its_author_is_not_sent(said, why):
    with pytest.raises(DraftError, match=why):
        tidy(said, "org/model-9:fast")


def test_rotations_need_no_draft():
    assert [next_prompt(TEMPLATES, turn, SAID).prompt for turn in (2, 3, 6)] == ["continue", "go on", "continue"]
    assert next_prompt(CONTINUE, 5, SAID) == Draft("continue")


def test_a_session_with_drafted_turns_captures_the_agents_calls_alone(project):
    project.write_jsonl({"id": "a", "input": "Write it", "reference": "date > when.txt"})
    project.capture("--turns", "3", "--followup", "synthesized").assert_outcomes(passed=1)
    [result], [run] = project.results(), project.runs()
    drafted = "Show what you have changed, and how you checked it."
    assert [turn["prompt"] for turn in result["turns"]] == ["Write it", drafted, drafted]
    assert (result["calls"], result["notes"]) == (4, [])
    bodies = [json.loads(path.read_bytes())["body"] for path in run.glob("captures/*.request.json")]
    assert len(bodies) == 4
    assert all(body["tools"] for body in bodies)
    said = max(([m["content"] for m in body["messages"] if m["role"] == "user"] for body in bodies), key=len)
    assert said == ["Write it", drafted, drafted]


def test_a_fallback_is_in_the_notes_and_the_prompt_that_was_sent_in_the_turn(project, http_upstream):
    project.write_shell_agent()
    project.write_jsonl({"id": "a", "input": "python3 call a"})
    # `continue` is a shell's own word, so this agent takes it.
    with http_upstream(lambda path: (200, b"{}")) as upstream:
        options = ("--model", "m", "--upstream", upstream.url, "--turns", "2", "--followup", "synthesized")
        project.pytest("--agent", "shell", "--sandbox", "host", *options).assert_outcomes(passed=1)
    [result] = project.results()
    assert [turn["prompt"] for turn in result["turns"]] == ["python3 call a", "continue"]
    assert result["notes"] == [
        "turn 2: 'continue' was said, no follow-up was drafted: the upstream's answer holds no text"
    ]
