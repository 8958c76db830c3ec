"""What an agent's output says: the reply, and the id under which its session goes on."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from pytest_agentcap.agents.spec import ReplySource, SessionSource


def read_reply(source: ReplySource, output: str) -> str:
    """Return the agent's reply of one turn; JSON texts of several events are joined by blank lines."""
    if source.json is None:
        return output.strip()
    paths = (source.json,) if isinstance(source.json, str) else source.json
    texts = []
    for event in _events(output):
        if all(value in _at(event, path) for path, value in source.where.items()):
            found = (text for path in paths for text in _at(event, path))
            texts += [text.strip() for text in found if isinstance(text, str)]
    return "\n\n".join(texts)


def read_session_id(source: SessionSource, stdout: str, stderr: str) -> str | None:
    """Return the session id that the first turn's output tells, or None."""
    if source.pattern is not None:
        match = re.search(source.pattern, stdout) or re.search(source.pattern, stderr)
        return match[1] if match else None
    if source.json is not None:
        for event in _events(stdout):
            for found in _at(event, source.json):
                if isinstance(found, str) and found:
                    return found
    return None


def _events(text: str) -> Iterator[Any]:
    """Yield the JSON objects of an output: one document, or lines; the items of a list one by one."""
    try:
        documents = [json.loads(text)]
    except ValueError:
        documents = list(_json_lines(text))
    for document in documents:
        if isinstance(document, list):
            yield from document
        else:
            yield document


def _json_lines(text: str) -> Iterator[Any]:
    """Yield what of the lines is JSON: agents print notices between their events."""
    for line in text.split("\n"):
        if line.lstrip()[:1] in ("{", "["):
            try:
                yield json.loads(line)
            except ValueError:
                continue


def _at(value: Any, path: str) -> list[Any]:
    """Return what is at a dotted path; a list on the way is looked into item by item."""
    found = [value]
    for key in path.split("."):
        items = [item for each in found for item in (each if isinstance(each, list) else [each])]
        found = [item[key] for item in items if isinstance(item, dict) and key in item]
    return found
