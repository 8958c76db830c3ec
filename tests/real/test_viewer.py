"""The page in a browser: what is clicked, typed and filtered; hostile text; many calls."""

from __future__ import annotations

import base64
import json
import random
import re
import shutil
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pytest_agentcap.conversation.records import CallRecord
from pytest_agentcap.runs.captures import Half
from pytest_agentcap.runs.layout import RunDirectory
from pytest_agentcap.runs.results import update_result
from pytest_agentcap.view.build import build_page
from pytest_agentcap.view.packed import SessionPacker
from pytest_agentcap.view.page import RunOfPage, write_page
from pytest_agentcap.view.serve import PageServer

pytestmark = [pytest.mark.real, pytest.mark.xdist_group("real")]

WAIT_MS = 60_000
PATCH = b"diff --git a/milk.txt b/milk.txt\nnew file mode 100644\n--- /dev/null\n+++ b/milk.txt\n@@ -0,0 +1 @@\n+2 l\n"
RUNS = "window.hacked = (window.hacked || 0) + 1"
PAYLOADS = [
    f"<script>{RUNS}</script>",
    f"</script><script>{RUNS}</script>",
    f"</title></style></noscript><script>{RUNS}</script>",
    f"--><script>{RUNS}</script><!--",
    f"<!--<script>{RUNS}</script>",
    f'<img src=x onerror="{RUNS}">',
    f'"><img src=x onerror="{RUNS}">',
    f"'-{RUNS}-'",
    f'" autofocus onfocus="{RUNS}" x="',
    f"<svg/onload='{RUNS}'>",
    f"<svg><script>{RUNS}</script></svg>",
    f"<math><mtext></p><style><img src=x onerror='{RUNS}'>",
    f"<iframe srcdoc='<script>parent.{RUNS}</script>'>",
    f"<iframe src='javascript:parent.{RUNS}'>",
    f"<a id=index href='javascript:{RUNS}'>index</a>",
    f"<details open ontoggle='{RUNS}'>",
    f"<body onload='{RUNS}'>",
    "<form id=view><input name=children></form>",
    "<meta http-equiv=refresh content='0;url=https://example.invalid'>",
    "<base href='https://example.invalid/'>",
    "<link rel=stylesheet href='https://example.invalid/x.css'>",
    f"javascript:{RUNS}",
    f"data:text/html,<script>{RUNS}</script>",
    "{{constructor.constructor('window.hacked = 1')()}}",
    "__proto__",
    "\u202e\u2066evil\u2069 \u2028\u2029 \x00\x1b[2J \ud800",
    "]]>",
    "&lt;script&gt;&#x3c;script&#x3e;",
]


def png() -> bytes:
    """Return a picture of one red point."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"\0\xff\0\0")) + chunk(b"IEND", b"")


@pytest.fixture(scope="module")
def browser(need: Callable[[str], None]) -> Iterator[Any]:
    need("chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        # Its own sandbox does not go together with root, as which containers of CI run.
        browser = running.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


class Opened:
    """A page in a window of its own; `troubles` are errors of scripts, dialogs, and requests to anywhere."""

    def __init__(self, browser: Any, address: str, **window: Any) -> None:
        self.window = browser.new_page(**window)
        self.window.set_default_timeout(WAIT_MS)
        self.troubles: list[str] = []
        self.window.on("pageerror", lambda error: self.troubles.append(f"error: {error}"))
        self.window.on("dialog", lambda dialog: (self.troubles.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        self.window.on("console", lambda said: said.type == "error" and self.troubles.append(f"console: {said.text}"))
        self.window.on("request", self._requested)
        self.window.goto(address)

    def _requested(self, request: Any) -> None:
        if not request.url.startswith(("file:", "blob:", "http://127.0.0.1:")):
            self.troubles.append(f"request: {request.url}")

    def sessions(self) -> list[str]:
        return [each.inner_text() for each in self.window.get_by_role("option").all() if each.get_attribute("class")]

    def press(self, *keys: str) -> None:
        for key in keys:
            self.window.keyboard.press(key)

    def panel(self, name: str, call: int = 0) -> Any:
        """Open what a button of a call shows."""
        place = self.window.locator(f"#call-{call}")
        place.get_by_role("button", name=name, exact=True).click()
        return place.locator(".panel > *").first


@pytest.fixture
def show(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Opened]]:
    """Open a page of runs from disk; whatever it was, no script may have failed and nothing been asked for."""
    opened: list[Opened] = []

    def show(*runs: RunDirectory, html: bytes | None = None, place: str = "", **window: Any) -> Opened:
        page = tmp_path / "view.html"
        page.write_bytes(build_page([str(run.path) for run in runs]).html if html is None else html)
        opened.append(Opened(browser, page.as_uri() + place, **window))
        return opened[-1]

    yield show
    for each in opened:
        assert each.troubles == []
        each.window.close()


@pytest.fixture
def run(tmp_path: Path, new_session: Any) -> RunDirectory:
    run = RunDirectory(tmp_path / ".agentcap" / "pi-local-1")
    session = new_session("buy")
    messages = [session.SYSTEM, session.user("buy milk\nand eggs")]
    asks = session.says("let me look", ("c1", {"command": "ls fridge"}), thinking="where is it")
    session.call(messages, asks)
    session.call([*messages, asks, session.result("c1", "eggs\n" * 99 + "zucchini\n")], session.says("bought"))
    session.save(run)
    again = new_session("buy-t2", trial=2, verdict="infra")
    again.call(messages, None)
    again.save(run)
    run.patch("buy").parent.mkdir()
    run.patch("buy").write_bytes(PATCH)
    return run


def test_a_session_is_read_from_top_to_bottom(show, run):
    page = show(run)
    window = page.window
    assert window.title() == "pi-local-1"
    assert window.get_by_role("heading", level=1).inner_text().startswith("buy")
    window.get_by_text("buy milk\nand eggs").first.wait_for()
    assert window.locator("#call-0 .message h4").all_inner_texts() == ["System", "User", "Assistant answer"]
    assert window.locator("#call-1 .message h4").all_inner_texts() == ["Tool", "Assistant answer"]
    window.get_by_text("Reasoning").first.click()
    window.get_by_text("where is it", exact=True).wait_for()
    window.locator("#call-0 .tools > summary").click()
    window.locator("#call-0 .tools details summary").click()
    assert '"type": "object"' in window.locator("#call-0 .tools .json").inner_text()
    result = window.locator("#call-1 .tool-result")
    assert "zucchini" not in result.inner_text()
    result.get_by_role("button").click()
    assert "zucchini" in result.inner_text()


def test_the_list_is_filtered_by_facts_and_by_text(show, run):
    page = show(run)
    window = page.window
    assert len(page.sessions()) == 2
    window.get_by_label("Verdict").select_option("infra")
    assert [text.split("\n")[0] for text in page.sessions()] == ["infra"]
    window.get_by_label("Verdict").select_option("all")
    # It stands in the bodies of the first session alone.
    window.get_by_label("Text").fill("ZUCCHINI")
    window.get_by_text("1 of 2 sessions", exact=True).wait_for()
    assert [text.split("\n")[0] for text in page.sessions()] == ["passed"]
    window.get_by_label("Text").fill("no such words")
    window.get_by_text("0 of 2 sessions", exact=True).wait_for()
    page.press("Escape")
    window.get_by_text("2 of 2 sessions", exact=True).wait_for()


def test_everything_is_reached_by_keys(show, run):
    page = show(run)
    window = page.window
    window.locator("#call-0.filled").wait_for()
    page.press("j")
    window.locator("#call-0:focus").wait_for()
    page.press("j", "c")
    window.locator("#call-1 .panel .added").first.wait_for()
    page.press("q")
    assert '"model": "org/m"' in window.locator("#call-1 .panel pre").inner_text()
    page.press("k")
    window.locator("#call-0:focus").wait_for()
    page.press("2")
    window.get_by_text("+2 l").wait_for()
    page.press("3")
    window.get_by_text("The result file").wait_for()
    page.press("n")
    window.get_by_text("Reading the session").wait_for(state="detached")
    assert window.locator(".session[aria-selected=true]").inner_text().startswith("infra")
    page.press("Escape", "ArrowUp")
    window.locator("#session-0[aria-selected=true]").wait_for()
    page.press("?")
    window.get_by_role("dialog", name="Keys").wait_for()
    page.press("Escape", "/")
    window.keyboard.type("jkq")
    assert window.get_by_label("Text").input_value() == "jkq"


def test_a_text_is_found_and_marked_in_the_calls_that_hold_it(show, run):
    page = show(run)
    page.press("/")
    page.window.keyboard.type("bought")
    page.window.get_by_text("1 of 2 sessions", exact=True).wait_for()
    page.press("Enter", "m")
    page.window.locator("#call-1:focus mark").first.wait_for()


def test_bodies_are_shown_and_saved_as_they_were_on_the_wire(show, run, tmp_path):
    page = show(run)
    text = page.panel("Request", 1).locator("pre").inner_text()
    captured = next(
        json.loads(p.read_bytes()) for p in run.captures.glob("*2*.request.json") if b"eggs" in p.read_bytes()
    )
    assert text.startswith('{\n  "model": "org/m",\n  "messages": [')
    with page.window.expect_download() as saved:
        page.window.locator("#call-1 .panel").get_by_role("button", name="Save").click()
    assert json.loads(saved.value.path().read_bytes()) == captured["body"]
    assert "bought" in page.panel("Response", 1).inner_text()
    assert '"task_id": "buy"' in page.panel("Facts", 1).inner_text()


def test_a_stream_is_shown_as_it_came(show, run, new_session):
    session = new_session("streamed", trial=3)
    record = session.call([session.user("hello")], session.says("x"))
    stream = 'data: {"choices":[{"delta":{"content":"é <b>"}}]}\n\ndata: [DONE]\n\n'
    whole = {**record.facts, "stream": True, "raw": stream}
    session.save(run)
    path = run.captures / f"{record.rid}.response.json"
    path.write_text(json.dumps({name: value for name, value in whole.items() if name not in ("run_id", "verdict")}))
    page = show(run, place="#session=2")
    assert page.panel("Response").locator("pre").text_content() == stream


def test_what_a_request_changed_is_told_by_lines(show, run):
    changes = show(run).panel("Changes", 1)
    added = changes.locator(".added").all_inner_texts()
    assert any("zucchini" in line for line in added)
    assert not any("buy milk" in line for line in added)


def test_images_are_drawn_unless_they_would_have_to_be_fetched(show, run, new_session):
    session = new_session("seen", trial=3)
    data = base64.b64encode(png()).decode()
    parts = [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}},
        {"type": "image_url", "image_url": {"url": "https://example.invalid/x.png"}},
        {"type": "image_url", "image_url": {"url": f"data:image/svg+xml;base64,{data}"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    ]
    session.call([{"role": "user", "content": parts}], session.says("a point"))
    session.save(run)
    page = show(run, place="#session=2")
    page.window.get_by_text("that cannot be read").wait_for()
    drawn = page.window.locator("figure img")
    drawn.first.scroll_into_view_if_needed()
    page.window.wait_for_timeout(100)
    assert drawn.evaluate_all("images => images.map(image => image.naturalWidth)") == [1]
    assert page.window.get_by_text("which this page does not fetch").count() == 1
    assert page.window.get_by_text("image/svg+xml, which is not drawn").count() == 1


def test_sessions_of_a_task_stand_side_by_side_up_to_where_they_differ(show, run, tmp_path, new_session):
    other = RunDirectory(tmp_path / ".agentcap" / "loop-local-1")
    session = new_session("buy")
    messages = [{"role": "system", "content": "you are another"}, session.user("buy milk\nand eggs")]
    asks = session.says("let me look", ("x9", {"command": "ls fridge"}))
    session.call(messages, asks)
    session.call([*messages, asks, session.result("x9", "nothing")], session.says("sold out"))
    session.save(other)
    page = show(run, other, place="#session=0&tab=Side+by+side&beside=2")
    window = page.window
    window.get_by_text("2 messages the same, then they differ. System prompts differ.").wait_for()
    window.locator("#divergence").wait_for()
    following = window.locator("#divergence + .row > [role=cell]")
    following.nth(1).get_by_text("nothing").wait_for()
    assert "eggs" in following.nth(0).inner_text()
    window.get_by_label("pi · org/m · trial 2, attempt 1 · pi-local-1").check()
    window.locator(".row.heads > div").nth(2).wait_for()


def test_what_tools_took_stands_by_their_calls_and_in_the_timeline(show, run):
    first = json.loads(min(run.captures.glob(f"*{zlib.crc32(b'buy'):016x}.request.json")).read_bytes())
    used = {"source": "proc", "quality": "sampled", "user_s": 0.2, "system_s": 0.1, "peak_rss_bytes": 4 << 20}
    span = {"name": "bash", "position": 0, "started_at_ns": 1_500_000_000, "ended_at_ns": 1_900_000_000, "exit_code": 2}
    calls = {first["request_id"]: {"tools": [{**span, "background": None, "resources": used}]}}
    update_result(run.result("buy"), telemetry={"session": used, "turns": [], "coverage": None, "calls": calls})
    window = show(run).window
    window.get_by_text("exit code 2 · 400 ms · 300 ms of CPU · 4.0 MiB of memory").wait_for()
    timeline = window.get_by_role("region", name="Timeline")
    assert timeline.locator(".lanes span").all_inner_texts() == ["Model", "Tools", "Idle", "CPU", "Memory"]
    assert "proc, sampled" in timeline.inner_text()


def test_what_a_session_really_took_is_drawn(show, project):
    busy = "python3 -c 'import time; e = time.time() + 1; b = bytearray(50 << 20)\nwhile time.time() < e: pass'"
    project.write_jsonl({"id": "work", "input": "work", "reference": busy})
    project.capture("prompts.jsonl").assert_outcomes(passed=1)
    window = show(*map(RunDirectory, project.runs())).window
    window.get_by_text(re.compile(r"exit code 0 · .* of CPU · .* MiB of memory")).wait_for()
    timeline = window.get_by_role("region", name="Timeline")
    assert timeline.locator(".lanes span").all_inner_texts() == ["Model", "Tools", "Idle", "CPU", "Memory"]
    assert re.search(r"Measured by:?\s+(taskstats, exact|proc, sampled|cgroup, window)", timeline.inner_text())


def test_outputs_stand_with_what_was_expected_beside_what_the_agent_did(show, run):
    outputs = [
        {"key": "count", "ok": False, "expected": [3], "actual": [4], "weight": 2, "problem": None},
        {
            "key": "name",
            "ok": False,
            "expected": "x",
            "actual": None,
            "weight": 1,
            "problem": "answer.json has no 'name'",
        },
    ]
    event = {"kind": "path_escape", "detail": "/etc/passwd", "source": "wire", "rid": None}
    update_result(run.result("buy"), assessment={"outputs": outputs, "safety_events": [event]})
    page = show(run)
    page.press("3")
    rows = page.window.locator(".body tbody tr")
    rows.nth(2).wait_for()
    assert [[cell.strip() for cell in row.split("\t")] for row in rows.all_inner_texts()] == [
        ["count", "wrong", "[3]", "[4]", "2"],
        ["name", "wrong", '"x"', "answer.json has no 'name'", "1"],
        ["path_escape", "/etc/passwd", "wire"],
    ]


def test_hostile_text_never_runs(show, tmp_path, new_session):
    run = RunDirectory(tmp_path / ".agentcap" / "evil")
    for number, payload in enumerate(PAYLOADS):
        session = new_session(f"evil-{number}")
        calls = [("c1", {"command": payload, payload: payload}), (payload, {})]
        tool = {"name": payload, "description": payload, "parameters": {payload: payload}}
        tools = [{"type": "function", "function": tool}]
        messages = [{"role": "system", "content": payload}, session.user(payload * 3)]
        asks = session.says(payload, *calls, thinking=payload)
        image = {"type": "image_url", "image_url": {"url": payload}}
        session.call(messages, asks, tools=tools, task_id=payload, request_headers=[[payload, payload]])
        told = [
            *messages,
            asks,
            session.result("c1", payload),
            {"role": payload, "content": [image, {"type": payload}]},
        ]
        session.call(told, session.says(payload), tools=tools, task_id=payload, error=payload)
        session.save(run)
        known = dict.fromkeys(("task_id", "corpus", "agent", "model", "verdict", "reason", "prompt"), payload)
        turn = {
            "turn": payload,
            "prompt": payload,
            "reply": payload,
            "duration_s": 1,
            "returncode": 0,
            "limit": payload,
        }
        grader = {"name": payload, "passed": False, "score": 0, "reasoning": payload, "duration_s": 1}
        output = {"key": payload, "ok": False, "expected": [payload], "actual": {payload: payload}, "weight": 1}
        event = {"kind": payload, "detail": payload, "source": payload, "rid": payload}
        assessment = {"outputs": [output, {**output, "problem": payload}], "safety_events": [event]}
        known_lists = {"turns": [turn], "graders": [grader], "notes": [payload], "assessment": assessment}
        update_result(run.result(f"evil-{number}"), **known, **known_lists)
        run.patch(f"evil-{number}").parent.mkdir(exist_ok=True)
        patch = f"diff --git a/{payload} b/{payload}\n+++ b/{payload}\n@@ -1 +1 @@\n+{payload}\n"
        run.patch(f"evil-{number}").write_bytes(patch.encode("utf-8", "replace"))
    run.manifest.write_text(
        json.dumps({"agent": PAYLOADS[0], "model": PAYLOADS[1], "upstream": PAYLOADS[2], "tasks": []})
    )
    page = show(run)
    window = page.window
    elements = window.evaluate("document.querySelectorAll('script').length")
    for number in range(len(PAYLOADS)):
        window.evaluate(f"location.hash = '#session={number}'")
        window.locator("#call-1.filled").wait_for()
        for panel in ("Changes", "Request", "Response", "Facts"):
            page.panel(panel, 1).wait_for()
        window.locator("details:not([open]) > summary").evaluate_all("all => all.forEach(each => each.click())")
        for tab in ("2", "3"):
            page.press(tab)
            window.locator(".body > *").first.wait_for()
    assert window.evaluate("window.hacked") is None
    assert window.evaluate("document.querySelectorAll('script').length") == elements
    assert window.locator("iframe, object, embed, base, form, [onerror], [onload], a[href^=javascript]").count() == 0


def test_no_text_can_become_markup_in_the_page(show, run):
    page = show(run)
    refused = page.window.evaluate(
        "() => { try { document.body.innerHTML = '<p>x</p>'; return ''; } catch (error) { return error.name; } }"
    )
    assert refused == "TypeError"
    # The browser tells the policy's refusal on the console, as it should.
    page.troubles.clear()


def words(number: int, length: int) -> str:
    """Return text that compresses as prose does and is another for every number."""
    found = random.Random(number).choices(
        ("the", "file", "value", "return", "is", "of", "test", "none", "x7", "q"), k=length
    )
    return " ".join(found)[:length]


def many_calls(session: int, calls: int, size: int) -> Iterator[CallRecord]:
    messages = [json.dumps({"role": "system", "content": words(session, size)})]
    for number in range(calls):
        messages.append(json.dumps({"role": "user", "content": words(session * 10_000 + number, 300)}))
        body = f'{{"model":"m","messages":[{",".join(messages)}],"stream":true}}'
        raw = f'data: {{"choices":[{{"delta":{{"content":"answer {number} of {session}"}}}}]}}\n\ndata: [DONE]\n\n'
        facts = {
            "request_id": f"{session * calls + number:032x}", "api": "chat", "task_id": f"task {session}",
            "session": f"s{session}", "call_index": number, "started_at_ns": (number + 1) * 10**9, "duration_ms": 400.0,
            "status_code": 200, "stream": True,
        }  # fmt: skip
        yield CallRecord(facts, body.encode(), Half({}, "raw", json.dumps(raw).encode()))
        messages.append(json.dumps({"role": "assistant", "content": f"answer {number} of {session}"}))


def test_two_thousand_calls_stay_small_and_are_drawn_as_they_are_looked_at(show):
    sessions, calls, size = 4, 500, 120_000
    packers = [SessionPacker() for _ in range(sessions)]
    for session, packer in enumerate(packers):
        for record in many_calls(session, calls, size):
            packer.add(record)
    raw = sum(packer.raw_bytes for packer in packers)
    packed = [packer.finish({}, None) for packer in packers]
    html = b"".join(write_page("many", [RunOfPage("many", {}, packed)], []))
    assert raw / (sessions * calls) > 180_000
    assert len(html) < raw / 20

    page = show(html=html)
    window = page.window
    window.locator("#call-0 .message").first.wait_for()
    assert window.locator("article.call").count() == calls
    assert window.locator("article.call.filled").count() < 40
    page.press("G")
    window.locator(f"#call-{calls - 1}:focus .message").first.wait_for()
    window.get_by_text(f"answer {calls - 1} of 0").first.wait_for()
    assert window.locator("article.call.filled").count() < 80
    page.press("q")
    window.locator(f"#call-{calls - 1} .panel pre").wait_for()
    with window.expect_download() as saved:
        window.locator(f"#call-{calls - 1} .panel").get_by_role("button", name="Save").click()
    *_, last = many_calls(0, calls, size)
    assert saved.value.path().read_bytes() == last.request
    page.press("n", "n", "n")
    window.get_by_text("answer 0 of 3").first.wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_at_200_percent_nothing_is_cut_off(show, run, scheme):
    page = show(run, viewport={"width": 640, "height": 480}, color_scheme=scheme)
    window = page.window
    page.panel("Changes", 1).wait_for()
    for tab in ("1", "2", "3", "4"):
        page.press(tab)
        window.locator(".body > *").first.wait_for()
        assert window.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ground = window.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


def test_a_screen_reader_is_told_what_everything_is(show, run):
    window = show(run).window
    window.locator("#call-1 .message").first.wait_for()
    told = window.locator("body").aria_snapshot()
    for line in (
        '- navigation "Sessions":',
        '- listbox "Sessions":',
        '- main "Session":',
        '- region "Timeline":',
        '- tab "Conversation" [selected]',
        '- article "Call 1 status 200 · 500 ms · 10 → 1 tokens · tool_calls":',
        '- group "Call of the tool bash":',
    ):
        assert line in told
    unnamed = "all => all.filter(each => !(each.textContent.trim() || each.labels?.length || each.ariaLabel)).length"
    assert window.locator("button, input, select, [role=tab], [role=option]").evaluate_all(unnamed) == 0


def test_the_page_is_looked_at_over_loopback_too(browser, run):
    server = PageServer(build_page([str(run.path)]).html)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        page = Opened(browser, server.url)
        page.window.get_by_text("buy milk").first.wait_for()
        page.window.close()
        assert page.troubles == []
    finally:
        server.close()
        thread.join()
