"""Drive a headless program by its schema: one process a turn, its session resumed or its history told again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

from pytest_agentcap.agents.driver import Answer, Scene, why_not_on
from pytest_agentcap.agents.headless_output import read_output
from pytest_agentcap.agents.headless_schema import HeadlessSchema, HistoryTemplate
from pytest_agentcap.sandbox.base import Command, Completed


class HeadlessDriver:
    """Keep what was said so far, for programs that have to be told it again."""

    def __init__(self, scene: Scene, schema: HeadlessSchema) -> None:
        self._scene, self._schema = scene, schema
        self._prompt = ""
        self._history: list[tuple[str, str]] = []
        self._arrivals: list[float | None] = []

    def prepare(self, prompt: str, number: int, session_id: str | None) -> tuple[Command, str | None]:
        self._prompt = prompt
        return self._scene.command(self._spelled(prompt), number, session_id)

    def run(self, command: Command, tick: Callable[[], None]) -> Completed:
        clock = _LineClock(command.stdout)

        def ticked() -> None:
            clock.advance()
            tick()

        try:
            return self._scene.box.run(command, ticked)
        finally:
            self._arrivals = clock.end()

    def answer(self, out: str, err: str, session_id: str | None) -> Answer:
        told = read_output(self._schema, out, self._arrivals)
        self._history.append((self._prompt, told.reply))
        return Answer(told.reply, told.session_id or session_id, told.steps, tuple(self._arrivals))

    def hindrance(self, session_id: str | None) -> str | None:
        if self._schema.session_mode == "iterative":
            return None
        return why_not_on(self._scene.agent, session_id)

    def _spelled(self, prompt: str) -> str:
        """Return what the program gets for a prompt: with its history, and the way its standard input wants it."""
        way = self._schema.prompt
        if self._schema.session_mode == "iterative":
            prompt = with_history(self._schema.history_template, self._history, prompt)
        if way.stdin and way.stdin_format == "json":
            content = [{"type": "text", "text": prompt}]
            prompt = json.dumps({"type": "user", "message": {"role": "user", "content": content}})
        return f"{prompt}\n" if way.stdin else prompt


def with_history(template: str | HistoryTemplate, history: list[tuple[str, str]], prompt: str) -> str:
    """Tell earlier turns again before a prompt; the system text of a template stands before everything, always."""
    system, turn = ("", template) if isinstance(template, str) else (template.system, template.turn_format)
    # By parts, so that what a prompt holds is never taken for a placeholder.
    told = [_filled(turn, said, answered) for said, answered in history]
    told += [f"User: {prompt}"] if history else [prompt]
    return "\n\n".join([*([system] if system else []), *told])


def _filled(template: str, said: str, answered: str) -> str:
    parts = template.split("{{input}}")
    return said.join(part.replace("{{output}}", answered) for part in parts)


class _LineClock:
    """Note when each line of a file came, in ms since the clock began, as exactly as it is asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._started = time.monotonic()
        self._position = 0
        self._arrivals: list[float | None] = []
        self._open_line = False

    def advance(self) -> None:
        if not self._path.exists():
            return
        now = round((time.monotonic() - self._started) * 1000, 3)
        with self._path.open("rb") as file:
            file.seek(self._position)
            data = file.read()
        if data:
            self._position += len(data)
            self._arrivals += [now] * data.count(b"\n")
            self._open_line = not data.endswith(b"\n")

    def end(self) -> list[float | None]:
        """Return the times of all lines; a last one without its end counts."""
        self.advance()
        return [*self._arrivals, self._arrivals[-1] if self._arrivals else None] if self._open_line else self._arrivals
