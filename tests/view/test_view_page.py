from __future__ import annotations

import base64
import hashlib
import json
from functools import partial

import huggingface_hub
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from local_hub import READER, LocalHub, Repo

from pytest_agentcap.publish.parquet import write_parquet
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.listing import TargetError
from pytest_agentcap.runs.results import update_result
from pytest_agentcap.view.build import build_page
from pytest_agentcap.view.page import as_data

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "<img src=x onerror=alert(1)>",
    "]]><svg/onload=alert(1)>",
    "\u2028alert(1)\u2029",
    "'\"><iframe srcdoc=x>",
]


def test_a_page_tells_its_sessions(run, read_page):
    built = build_page([str(run.path)])
    page = read_page(built.html)
    assert (built.runs, built.sessions, built.calls, built.faults) == (1, 2, 3, ())
    told = [(s["task_id"], s["trial"], s["verdict"], s["calls"], s["agent"]) for s in page.index["sessions"]]
    assert told == [("buy", 1, "passed", 2, "pi"), ("buy", 2, "infra", 1, "pi")]
    assert page.index["sessions"][0]["prompt_tokens"] == 20
    assert page.index["sessions"][1]["prompt_tokens"] is None
    assert page.index["runs"][0]["name"] == "pi-local-1"


def test_a_conversation_is_told_once_and_bodies_come_back_as_they_were(run, read_page):
    page = read_page(build_page([str(run.path)]).html)
    document = page.document(0)
    first, second = document["calls"]
    roles = [[document["messages"][number]["role"] for number in call["told"]] for call in (first, second)]
    assert roles == [["system", "user"], ["tool"]]
    assert [step[:3] for step in document["threads"][0]["steps"]] == [[0, "starts", None], [1, "continues", 0]]
    answer = document["messages"][first["said"]]["parts"]
    assert [part["type"] for part in answer] == ["thinking", "text", "call"]
    result = document["messages"][second["told"][0]]["parts"][0]["parts"][0]["text"]
    assert json.loads(f'"{page.text(0, result)}"') == "eggs\n" * 100
    captured = json.loads((run.captures / f"{second['rid']}.request.json").read_bytes())["body"]
    assert json.loads(page.text(0, second["request"])) == captured
    assert json.loads(page.text(0, second["facts"]))["task_id"] == "buy"


def test_times_say_when_model_and_tools_were_at_work(run, read_page):
    spans = read_page(build_page([str(run.path)]).html).document(0)["spans"]
    assert [(span["kind"], (span["end"] - span["start"]) / 1e9) for span in spans] == [
        ("model", 0.5),
        ("tool", 0.5),
        ("model", 0.5),
    ]
    assert spans[1]["names"] == ["bash"]


def test_patch_and_result_are_beside_the_calls(run, read_page):
    page = read_page(build_page([str(run.path)]).html)
    document = page.document(0)
    assert "+++ b/milk.txt" in page.text(0, document["patch"])
    assert document["result"]["verdict"] == "passed"
    assert document["measured"] is None
    assert page.document(1)["patch"] is None


def test_what_was_measured_is_joined_to_the_calls_that_asked_for_tools(run, read_page):
    rid = read_page(build_page([str(run.path)]).html).document(0)["calls"][0]["rid"]
    used = {"source": "proc", "user_s": 0.2, "system_s": None, "peak_rss_bytes": 4096}
    tool = {"name": "bash", "position": 0, "started_at_ns": 1, "ended_at_ns": 2, "exit_code": 3, "resources": used}
    telemetry = {"session": used, "turns": [{"turn": 1, **used}], "coverage": None, "calls": {rid: {"tools": [tool]}}}
    update_result(run.result("buy"), telemetry=telemetry)
    measured = read_page(build_page([str(run.path)]).html).document(0)["measured"]
    assert measured["session"] == used
    assert measured["tools"]["0"][0] | {"timing": None, "background": None} == {
        **tool,
        "timing": None,
        "background": None,
    }


def test_a_session_without_calls_is_shown_too(run, read_page):
    for path in run.captures.iterdir():
        path.unlink()
    page = read_page(build_page([str(run.path)]).html)
    assert [(s["task_id"], s["verdict"], s["calls"]) for s in page.index["sessions"]] == [
        ("buy", "passed", 0),
        ("buy", "infra", 0),
    ]
    assert page.document(0)["result"]["prompt"] == "buy milk"


def test_a_parquet_is_shown_without_what_it_does_not_have(run, read_page):
    write_parquet(run)
    page = read_page(build_page([str(run.parquet)]).html)
    assert [(s["verdict"], s["patch"]) for s in page.index["sessions"]] == [("passed", False), ("infra", False)]
    assert page.document(0)["result"] == {}
    assert len(page.document(0)["calls"]) == 2


def test_parquets_of_one_name_are_told_apart(run, read_page, workspace):
    places = []
    for name in ("one", "other"):
        (workspace / name).mkdir()
        places.append(str(workspace / name / "captures.parquet"))
        write_parquet(run, workspace / name / "captures.parquet")
    page = read_page(build_page([*places, places[0]]).html)
    assert [session["run"] for session in page.index["sessions"]] == [0, 0, 1, 1]
    assert {session["run_id"] for session in page.index["sessions"]} == {"pi-local-1"}


def test_a_dataset_on_the_hub_is_shown(run, read_page, tmp_path_factory, monkeypatch):
    write_parquet(run)
    with LocalHub(tmp_path_factory.mktemp("hub") / "state").serving() as hub:
        hub.repos["org/base-captures"] = Repo(private=True)
        hub._put("org/base-captures", {"data/train-0.parquet": hub._keep(run.parquet.read_bytes())})
        # HF_ENDPOINT counts at the first import only, which may be long past.
        files = partial(huggingface_hub.HfFileSystem, endpoint=hub.url, token=READER)
        monkeypatch.setattr("huggingface_hub.HfFileSystem", files)
        pages = [build_page([name]) for name in ("hf://datasets/org/base-captures", "org/base-captures")]
    assert [page.calls for page in pages] == [3, 3]
    assert read_page(pages[0].html).document(0)["calls"][0]["status"] == 200


def test_runs_are_shown_together_and_each_once(run, read_page, new_session, workspace):
    other = type(run)(workspace / ".agentcap" / "pi-local-2")
    session = new_session("buy", agent="loop")
    session.call([session.SYSTEM, session.user("buy milk")], session.says("no"))
    session.save(other)
    page = read_page(build_page([str(run.path), "pi-local-2", ".", str(run.path)]).html)
    assert [each["name"] for each in page.index["runs"]] == ["pi-local-1", "pi-local-2"]
    assert [session["run"] for session in page.index["sessions"]] == [0, 0, 1]
    first, second = (page.document(number)["messages"] for number in (0, 2))
    # Equal messages have equal keys, whatever session they are of.
    assert [message["key"] for message in first[:2]] == [message["key"] for message in second[:2]]


def test_a_broken_capture_is_told_and_stops_nothing(run, read_page):
    path = next(run.captures.glob("*.request.json"))
    path.write_text("{")
    built = build_page([str(run.path)])
    assert built.calls == 2
    assert any(path.name in line for line in built.faults)
    assert read_page(built.html).index["faults"] == list(built.faults)


def test_hostile_text_stays_data(workspace, run, read_page, new_session):
    hostile = type(run)(workspace / ".agentcap" / "evil")
    session = new_session("evil")
    answer = session.says(HOSTILE[0], ("c1", {"command": HOSTILE[1]}), thinking=HOSTILE[2])
    session.call([session.SYSTEM, *map(session.user, HOSTILE)], answer)
    session.save(hostile)
    update_result(hostile.result("evil"), reason=HOSTILE[0], prompt=HOSTILE[0], model=HOSTILE[1], task_id=HOSTILE[2])
    hostile.manifest.write_text(json.dumps({"agent": HOSTILE[0], "model": HOSTILE[1], "tasks": []}))
    hostile.patch("evil").parent.mkdir()
    hostile.patch("evil").write_text(HOSTILE[0])
    page = read_page(build_page([str(hostile.path)]).html)
    assert len(page.runs) == 1
    # The page's own script makes everything else.
    assert set(page.tags) == {"html", "head", "meta", "title", "style", "body", "noscript", "script"}
    assert page.index["sessions"][0]["task_id"] == HOSTILE[2]
    assert page.index["sessions"][0]["reason"] == HOSTILE[0]
    assert "\\u003c/script>" in as_data(HOSTILE)


@settings(max_examples=50)
@given(st.lists(st.text() | st.sampled_from(HOSTILE), max_size=4))
def test_no_data_can_end_the_element_they_stand_in(value):
    written = as_data(value)
    assert "<" not in written
    assert json.loads(written) == value


def test_a_hostile_name_of_a_file_is_escaped(run, read_page):
    write_parquet(run)
    evil = run.path / "<script>alert(1)<x>.parquet"
    run.parquet.rename(evil)
    page = read_page(build_page([str(evil)]).html)
    assert len(page.runs) == 1
    assert page.data["title"] == evil.name


def test_the_policy_allows_the_pages_own_script_and_nothing_else(run, read_page):
    page = read_page(build_page([str(run.path)]).html)
    rules = dict(rule.split(" ", 1) for rule in page.policy.split("; "))
    digests = [
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (*page.runs, page.data["style"])
    ]
    assert [rules["script-src"], rules["style-src"]] == [f"'sha256-{digest}'" for digest in digests]
    assert (rules["default-src"], rules["img-src"], rules["base-uri"]) == ("'none'", "blob:", "'none'")
    assert (rules["require-trusted-types-for"], rules["trusted-types"]) == ("'script'", "'none'")


def test_a_target_that_is_nothing_is_told(workspace):
    with pytest.raises(TargetError, match="nowhere is no run"):
        build_page(["nowhere"])


def test_a_run_without_sessions_is_told(workspace):
    (workspace / ".agentcap" / "empty" / "captures").mkdir(parents=True)
    with pytest.raises(ValueError, match="empty: no sessions to show"):
        build_page(["empty"])


def test_an_image_of_a_message_is_in_the_page_where_the_message_tells_it(workspace, new_session, read_page):
    data = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(200))).decode()
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}
    session = new_session("buy")
    prompt = {"role": "user", "content": [{"type": "text", "text": "look"}, image]}
    session.call([session.SYSTEM, prompt], session.says("a cat"))
    session.save(RunDirectory(workspace / ".agentcap" / "pi-local-1"))
    page = read_page(build_page([str(workspace / ".agentcap" / "pi-local-1")]).html)
    told = [part for message in page.document(0)["messages"] for part in message["parts"]]
    (shown,) = [part for part in told if part["type"] == "image"]
    assert (shown["media_type"], shown["url"]) == ("image/png", None)
    assert page.text(0, shown["data"]) == data
    assert "img-src blob:" in page.policy
