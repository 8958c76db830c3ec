"""What the secret gate lets through, and what leaves in the place of secrets."""

from __future__ import annotations

import io
import json

import pyarrow.parquet as pq
import pytest
from counting_scanner import Counting
from secret_rule import DEAD, LIVE

from pytest_agentcap.publish.destination import Destination
from pytest_agentcap.publish.gate import GateOptions, SecretGate
from pytest_agentcap.publish.publisher import publish_runs
from pytest_agentcap.publish.push import PushOptions
from pytest_agentcap.publish.remote import PushError
from pytest_agentcap.publish.scanners import Kingfisher
from pytest_agentcap.runs.masking import placeholder_of

PLACE = Destination("me", "demo")

# The Hub's client warns of a part of its own.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=")


@pytest.fixture
def push(leaky_run, hub, client):
    """Publish the run with a gate; return what was said."""

    def publish(scanner, source=None, **options):
        said: list[str] = []
        gate = SecretGate(scanner, GateOptions(**options), said.append)
        publish_runs([source or leaky_run], PLACE, PushOptions(), gate, said.append, hub=client)
        return said

    return publish


def published(hub):
    return b"".join(content for repo in hub.repos for content in everything(hub, repo))


def everything(hub, repo):
    for path, content in hub.files(repo).items():
        yield content
        if path.endswith(".parquet"):
            yield json.dumps(pq.read_table(io.BytesIO(content)).to_pylist()).encode()


def test_a_secret_that_works_stops_everything_and_is_named_but_not_shown(push, hub, kingfisher):
    with pytest.raises(PushError) as caught:
        push(kingfisher.scanner, config=kingfisher.config)
    said = str(caught.value)
    assert "pi-local-20260101-000000 holds a secret that works: captures/" in said
    assert ".response.json (call 0000000000000001" in said
    assert "custom.gx: gx_k… (23 characters), works" in said
    assert LIVE not in said
    assert not hub.repos


def test_an_unverified_hit_is_listed_and_published(push, hub):
    said = push(Counting((DEAD, False, False)))
    assert any("Gx: gx_c… (23 characters), not verified" in line for line in said)
    assert not any(DEAD in line for line in said)
    assert DEAD.encode() in published(hub)
    card = hub.files("me/demo-captures")["README.md"].decode()
    assert "- counting 1: 0 verified, 1 unverified findings in 1 file(s)" in card


def test_strict_takes_an_unverified_hit_for_a_secret(push, hub):
    with pytest.raises(PushError, match="holds what may be a secret"):
        push(Counting((DEAD, False, False)), strict=True)
    assert not hub.repos


def test_redaction_replaces_what_was_found_and_the_card_says_so(push, hub, kingfisher):
    said = push(kingfisher.scanner, config=kingfisher.config, redact=True)
    assert any("replaced before publishing" in line for line in said)
    content = published(hub)
    for secret in (LIVE, DEAD):
        assert secret.encode() not in content
        assert placeholder_of(secret).encode() in content
    [table] = [pq.read_table(io.BytesIO(c)) for p, c in hub.files("me/demo-captures").items() if p.endswith(".parquet")]
    for row in table.to_pylist():
        json.loads(row["request"])
        json.loads(row["response"])
    arguments = json.loads(table["response"][0].as_py())["choices"][0]["message"]["tool_calls"][0]["function"]
    assert json.loads(arguments["arguments"]) == {"command": f'curl -H "x-key: {placeholder_of(LIVE)}"'}
    card = hub.files("me/demo-captures")["README.md"].decode()
    assert "2 verified, 1 unverified findings in 1 file(s), 3 of them replaced" in card
    assert f"- {sum(table['redacted'].to_pylist())} value(s) were replaced by placeholders" in card


def test_redaction_does_not_touch_the_run(push, leaky_run, kingfisher):
    before = {path: path.read_bytes() for path in leaky_run.captures.iterdir()}
    push(kingfisher.scanner, config=kingfisher.config, redact=True)
    assert {path: path.read_bytes() for path in leaky_run.captures.iterdir()} == before


def test_a_key_that_a_model_streamed_in_pieces_is_replaced(push, leaky_run, hub, kingfisher):
    events = [{"choices": [{"index": 0, "delta": {"content": part}}]} for part in ("key: ", *LIVE, "!")]
    raw = "".join(f"data: {json.dumps(event)}\n\n" for event in events)
    path = sorted(leaky_run.captures.glob("*.response.json"))[-1]
    head = json.loads(path.read_bytes())
    del head["body"]
    path.write_text(json.dumps({**head, "stream": True, "raw": raw}))
    push(kingfisher.scanner, config=kingfisher.config, redact=True)
    [table] = [pq.read_table(io.BytesIO(c)) for p, c in hub.files("me/demo-captures").items() if p.endswith(".parquet")]
    raw = json.loads(table["response"][2].as_py())["raw"]
    pieces = [json.loads(line[6:])["choices"][0]["delta"]["content"] for line in raw.split("\n") if line]
    assert "".join(pieces) == f"key: {placeholder_of(LIVE)}!"


def test_what_redaction_cannot_reach_is_not_published(push, leaky_run, hub):
    class Clever(Counting):
        """Find a key that is spelled as nobody expects."""

        def scan(self, folder, **kwargs):
            for path in folder.iterdir():
                path.write_text(path.read_text().replace(LIVE[::-1], LIVE))
            return super().scan(folder, **kwargs)

    path = sorted(leaky_run.captures.glob("*.request.json"))[0]
    path.write_text(path.read_text().replace('"go"', f'"{LIVE[::-1]}"'))
    with pytest.raises(PushError, match="a secret is still there after redaction"):
        push(Clever((LIVE, True, False)), redact=True)
    assert not hub.repos


def test_a_secret_too_short_to_be_replaced_is_not_published(push, hub):
    with pytest.raises(PushError, match="holds a secret that works"):
        push(Counting(("curl", True, False)), redact=True)
    assert not hub.repos


def test_a_scanner_that_breaks_says_what_to_do(push, hub, tmp_path):
    program = tmp_path / "kingfisher"
    program.write_text("#!/bin/sh\necho out of memory >&2\nexit 137\n")
    program.chmod(0o755)
    with pytest.raises(PushError) as caught:
        push(Kingfisher(str(program)))
    assert str(caught.value) == (
        "pi-local-20260101-000000 was not scanned for secrets: kingfisher failed (exit 137): out of memory: "
        "mend that, or pass --no-scan to publish without a scan"
    )
    assert not hub.repos


def test_the_command_scans_blocks_and_redacts(leaky_run, hub, agentcap, kingfisher):
    push = ("export", str(leaky_run.path), "--push", "me/demo", "--scan-config", str(kingfisher.config))
    done = agentcap(*push)
    assert done.returncode == 1
    assert "agentcap: not pushed: pi-local-20260101-000000 holds a secret that works" in done.stderr
    assert json.loads(leaky_run.scan.read_bytes())["scanner"] == "kingfisher"
    assert not hub.repos
    done = agentcap(*push, "--redact")
    assert done.returncode == 0, done.stderr
    assert LIVE.encode() not in published(hub)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--push", "me/demo", "--no-scan", "--redact"), "export: --redact needs the scan: leave out --no-scan"),
        (("--strict",), "export: --strict goes with --push"),
        (("--no-scan",), "export: --no-scan goes with --push"),
        (("--dry-run",), "export: --dry-run goes with --push"),
        (("--license", "mit"), "export: --license goes with --push"),
        (("--push", "me/demo", "--scan-config", "gone"), "export: --scan-config gone: no such file"),
    ],
)
def test_options_that_make_no_sense_are_refused(leaky_run, agentcap, options, said):
    done = agentcap("export", str(leaky_run.path), *options)
    assert done.returncode == 2
    assert said in done.stderr


def test_without_a_scanner_nothing_is_published(leaky_run, hub, agentcap, tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to("/nonexistent")
    away = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    code = f"import sys; sys.executable = {str(tmp_path / 'bin' / 'python')!r}"
    (tmp_path / "sitecustomize.py").write_text(code)
    done = agentcap("export", str(leaky_run.path), "--push", "me/demo", PYTHONPATH=str(tmp_path), **away)
    assert done.returncode == 1
    assert "not pushed: no secret scanner is installed: pip install 'pytest-agentcap[scan]', or pass" in done.stderr
    assert not hub.repos
