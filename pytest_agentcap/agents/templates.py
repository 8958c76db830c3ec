"""`{{name}}` in command lines, environment values and configuration templates."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

# Only in `images`, and filled in for each of a task's images.
IMAGE = "{{image}}"
_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")


@dataclass(frozen=True, slots=True)
class Variables:
    """Hold what a definition may refer to.

    `base_url` ends in `/v1`, `root_url` does not; `api_key` is a placeholder, for the real one stays at the proxy;
    `session` is the agent's own session id; `prompt` and `prompt_file` are set only in a turn's command line.
    """

    base_url: str
    root_url: str
    model: str
    home: str
    workspace: str
    session: str = ""
    prompt: str = ""
    prompt_file: str = ""
    api_key: str = "agentcap"

    def render(self, text: str) -> str:
        """Fill the placeholders in; what they bring is not looked into again."""
        return _PLACEHOLDER.sub(lambda match: str(getattr(self, match[1])), text)


def unknown_placeholders(text: str) -> list[str]:
    known = {field.name for field in fields(Variables)}
    return [name for name in _PLACEHOLDER.findall(text) if name not in known]
