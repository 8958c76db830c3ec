"""The form in which requests are looked for: it leaves out what it says, and nothing else."""

from __future__ import annotations

import copy
import json
import uuid
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_agentcap.replay.form import Rules, form_of

HOST = "/tmp/agentcap-1000/4242-17-4026531836/tmpab_3x1q0"
PLAIN = Rules()


def digest(body: Any, rules: Rules = PLAIN, path: str = "/v1/chat/completions", query: str = "") -> bytes:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return form_of(path, query, data, rules).digest


def chat(system: str = "be brief", user: str = "hello", result: str = "ok", call: str = "call_1") -> dict[str, Any]:
    called: dict[str, Any] = {"id": call, "type": "function"}
    called["function"] = {"name": "bash", "arguments": json.dumps({"command": "ls", "id": "a"})}
    parameters = {"properties": {"id": {"type": "string"}}}
    return {
        "model": "m",
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": [{"type": "text", "text": user}]},
            {"role": "assistant", "content": None, "tool_calls": [called]},
            {"role": "tool", "tool_call_id": call, "content": result},
        ],
        "tools": [{"type": "function", "function": {"name": "bash", "parameters": parameters}}],
        "temperature": 0.5,
    }  # fmt: skip


def leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if isinstance(value, dict):
        return [leaf for key, item in value.items() for leaf in leaves(item, (*path, key))]
    if isinstance(value, list):
        return [leaf for at, item in enumerate(value) for leaf in leaves(item, (*path, at))]
    return [path]


def replaced(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    body = copy.deepcopy(body)
    holder = body
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return body


COUNTING = [path for path in leaves(chat()) if path[-1] not in ("tool_call_id", "id") or "function" in path]


@pytest.mark.parametrize("path", COUNTING, ids=lambda path: ".".join(map(str, path)))
def test_every_value_but_an_id_counts(path):
    assert digest(replaced(chat(), path, "something else")) != digest(chat())


@pytest.mark.parametrize("place", ["system", "user", "result"])
@given(st.text(alphabet=st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=20))
def test_words_count_wherever_they_stand(place, word):
    assert digest(chat(**{place: f"before {word} after"})) != digest(chat(**{place: "before after"}))


@given(st.uuids(), st.uuids())
def test_ids_count_by_what_they_join_and_not_by_their_letters(first, second):
    assert digest(chat(call=f"call_{first}")) == digest(chat(call=f"call_{second}"))
    assert digest(chat(user=f"session {first}")) == digest(chat(user=f"session {second}"))
    apart = replaced(chat(call=str(first)), ("messages", 3, "tool_call_id"), str(uuid.uuid4()))
    assert digest(apart) != digest(chat())


@given(st.datetimes(min_value=datetime(1970, 1, 2)))
def test_timestamps_do_not_count_in_any_text(moment):
    forms = [
        moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        moment.strftime("%Y-%m-%d %H:%M:%S.%f"),
        moment.strftime("%a %b %e %H:%M:%S UTC %Y"),
        moment.strftime("%a, %d %b %Y %H:%M:%S GMT"),
        moment.strftime("%b %e %H:%M"),
        moment.strftime("%H:%M:%S"),
    ]
    whole = {digest(chat(result=f"-rw-r--r-- 1 a a 3 {form} b.txt")) for form in forms}
    assert whole == {digest(chat(result="-rw-r--r-- 1 a a 3 2001-02-03T04:05:06 b.txt"))}


@pytest.mark.parametrize(
    "date", ["2026-11-21", "Saturday, November 21, 2026", "21 Nov 2026", "11/21/2026", "Sat Nov 21 2026"]
)
def test_dates_do_not_count_in_system_prompts_and_where_they_are_called_a_date(date):
    assert digest(chat(system=f"It is {date}.")) == digest(chat(system="It is 1999-01-01."))
    assert digest(chat(user=f"Today's date is {date}.")) == digest(chat(user="Today's date is 1999-01-01."))
    assert digest(chat(user=f"<current_date>{date}</current_date>")) == digest(
        chat(user="<current_date>1999-01-01</current_date>")
    )


def test_dates_that_somebody_speaks_of_count():
    assert digest(chat(user="what happened on 2026-11-21?")) != digest(chat(user="what happened on 1999-01-01?"))
    assert digest(chat(result="born 2026-11-21")) != digest(chat(result="born 1999-01-01"))


def test_dates_in_what_a_responses_request_was_asked_count():
    def asked(text):
        return digest({"model": "m", "instructions": "It is 2026-11-21.", "input": text}, path="/v1/responses")

    assert asked("on 2026-11-21") != asked("on 1999-01-01")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (f"{HOST}/work/a.txt", "/work/a.txt"),
        (f"{HOST}/work", f"{HOST.replace('4242', '7')}/work"),
        (f"/private{HOST}/home/.pi", "/home/agent/.pi"),
        (f"{HOST}/tmp/opencode", "/tmp/opencode"),
    ],
)
def test_paths_of_sandboxes_count_by_what_they_are(one, other):
    assert digest(chat(system=f"see {one} there")) == digest(chat(system=f"see {other} there"))


@pytest.mark.parametrize("named", ["Working directory: {}\n", "<cwd>\n{}\n</cwd>", "Primary working directory: `{}`."])
def test_the_directory_that_a_request_calls_its_own_does_not_count(named):
    mine, yours = (
        chat(system=named.format(path), result=f"{path}/src/a.py: 3") for path in ("/srv/me/project", "/home/u/p")
    )
    assert digest(mine) == digest(yours)
    assert digest(mine) != digest(chat(system=named.format("/srv/me/project"), result="/srv/me/project-2/src/a.py: 3"))


def test_other_paths_count():
    assert digest(chat(result="/etc/passwd")) != digest(chat(result="/etc/group"))
    assert digest(chat(result="/worker/x")) != digest(chat(result="/work/x"))


def test_cache_marks_and_what_names_user_or_session_do_not_count():
    marked = chat()
    marked["messages"][1]["content"][0]["cache_control"] = {"type": "ephemeral"}
    marked |= {"prompt_cache_key": "k", "user": "u", "metadata": {"user_id": "x"}, "safety_identifier": "s"}
    assert digest(marked) == digest(chat())


def test_an_argument_of_a_tool_that_is_called_like_a_mark_counts():
    def asked(argument):
        used = {"type": "tool_use", "id": "toolu_1", "name": "n", "input": {"cache_control": argument, "id": argument}}
        return digest({"model": "m", "messages": [{"role": "assistant", "content": [used]}]}, path="/v1/messages")

    assert asked("a") != asked("b")


def test_white_space_key_order_and_spelling_of_the_json_do_not_count():
    body = chat(user="é")
    mixed = dict(reversed(body.items()))
    mixed["messages"] = [dict(reversed(message.items())) for message in body["messages"]]
    assert digest(json.dumps(mixed, indent=3, ensure_ascii=False).encode()) == digest(body)
    call = ("messages", 2, "tool_calls", 0, "function", "arguments")
    assert digest(replaced(body, call, '{"id":"a",  "command":"ls"}')) == digest(body)
    assert digest(replaced(body, call, '{"id":"a", "command":"rm"}')) != digest(body)


def test_path_and_query_count_but_the_version_in_front_and_a_key():
    assert digest(chat(), path="/chat/completions") == digest(chat(), path="/v1/chat/completions/")
    assert digest(chat(), path="/v1/responses") != digest(chat())
    assert digest({}, query="beta=true&key=a") == digest({}, query="key=b&beta=true")
    assert digest({}, query="alt=sse") != digest({}, query="")


@pytest.mark.parametrize("body", [b"", b"\xff\xfe", b"[1, 2]", b'"text"', b"[" * 5000])
def test_a_body_of_any_kind_has_a_form(body):
    assert digest(body) == digest(body)
    assert digest(body) != digest(chat())


@pytest.mark.parametrize(
    ("path", "one", "other"),
    [
        (
            "/chat/completions",
            {"messages": [{"role": "system", "content": "old"}, {"role": "user", "content": "hi"}], "tools": [1]},
            {"messages": [{"role": "developer", "content": "new"}, {"role": "user", "content": "hi"}]},
        ),
        ("/messages", {"system": "old", "messages": []}, {"system": [{"text": "new"}], "messages": [], "tools": []}),
        ("/responses", {"instructions": "old", "input": "hi"}, {"instructions": "new", "input": "hi"}),
    ],
)
def test_for_another_version_its_instructions_may_not_count(path, one, other):
    def form(body, rules):
        return form_of(path, "", json.dumps(body).encode(), rules).digest

    assert form(one, Rules()) != form(other, Rules())
    lenient = Rules().without_instructions()
    assert form(one, lenient) == form(other, lenient)
    said = json.loads(json.dumps(one).replace("hi", "bye").replace('"messages": []', '"messages": ["x"]'))
    assert form(one, lenient) != form(said, lenient)


def test_a_corpus_says_what_else_does_not_count():
    rules = PLAIN.ignoring(r"took \d+ ms").without("seed")
    assert digest(chat(result="took 3 ms") | {"seed": 1}, rules) == digest(
        chat(result="took 44 ms") | {"seed": 2}, rules
    )
    assert digest(chat(result="took 3 ms")) != digest(chat(result="took 44 ms"))
    with pytest.raises(Exception, match="unterminated"):
        PLAIN.ignoring("(")
