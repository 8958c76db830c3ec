"""The page: one HTML file with its styles, its script, the list of sessions, and the sessions packed.

Nothing of it is ever loaded from elsewhere, and nothing captured is ever markup: data stand in script elements of a
type that browsers do not run, as base64 or as JSON without `<`. The policy in the page's head allows its one script
and its styles by their digests and nothing else, and where browsers know trusted types, no text may become markup.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

from pytest_agentcap import __version__
from pytest_agentcap.view.packed import PackedSession
from pytest_agentcap.view.scripts import link

_STYLES = ("base", "layout", "conversation", "timeline", "compare")


@dataclass(frozen=True, slots=True)
class RunOfPage:
    """Hold what a page shows of one run or file: its name, facts of it, its sessions."""

    name: str
    facts: Mapping[str, Any]
    sessions: Sequence[PackedSession]


def write_page(title: str, runs: Sequence[RunOfPage], faults: Iterable[str]) -> Iterator[bytes]:
    """Yield the page in pieces; `faults` are the lines that tell what could not be read."""
    script, styles = page_script(), page_styles()
    sessions = [(number, session) for number, run in enumerate(runs) for session in run.sessions]
    index = {
        "title": title,
        "version": __version__,
        "runs": [{"name": run.name, **run.facts} for run in runs],
        "sessions": [{**packed.facts, "run": run, "blocks": len(packed.blocks)} for run, packed in sessions],
        "faults": list(faults),
    }
    yield _head(title, script, styles).encode()
    yield f'<script type="application/json" id="index">{as_data(index)}</script>\n'.encode()
    # The script comes before what is packed, so that the list is there while the rest is still read.
    yield f"<script>{script}</script>\n".encode()
    for number, (_, packed) in enumerate(sessions):
        yield _data(f"document-{number}", packed.document)
        for block, data in enumerate(packed.blocks):
            yield _data(f"block-{number}-{block}", data)
    yield b"</body>\n</html>\n"


def page_script() -> str:
    """Return the page's script, made of the package's modules."""
    folder = files("pytest_agentcap") / "view" / "assets"
    modules = {
        item.name.removesuffix(".js"): item.read_text("utf-8") for item in folder.iterdir() if item.name.endswith(".js")
    }
    return link(modules, "main")


def page_styles() -> str:
    """Return the page's styles."""
    folder = files("pytest_agentcap") / "view" / "assets"
    return "".join((folder / f"{name}.css").read_text("utf-8") for name in _STYLES)


def policy(script: str, styles: str) -> str:
    """Return the content security policy that allows this script and these styles, and images made in the page."""
    rules = {
        "default-src": "'none'",
        "script-src": f"'sha256-{_digest(script)}'",
        "style-src": f"'sha256-{_digest(styles)}'",
        "img-src": "blob:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())


def as_data(value: Any) -> str:
    """Write JSON that can stand in a script element: no `<` that could end it."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")


def _head(title: str, script: str, styles: str) -> str:
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escape(policy(script, styles))}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="referrer" content="no-referrer">\n<meta name="color-scheme" content="light dark">\n'
        f"<title>{escape(title)}</title>\n<style>{styles}</style>\n</head>\n<body>\n"
        "<noscript>This page shows its data by a script of its own, and scripts are turned off.</noscript>\n"
    )


def _data(identity: str, data: bytes) -> bytes:
    return b'<script type="text/plain" id="%s">%s</script>\n' % (identity.encode(), data)


def _digest(text: str) -> str:
    return b64encode(hashlib.sha256(text.encode()).digest()).decode()
