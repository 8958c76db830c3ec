"""The formats by name; each is loaded when it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType

from pytest_agentcap.conversation.session import Conversation
from pytest_agentcap.formats.lines import Line

Lines = Callable[[Iterable[Conversation]], Iterator[Line]]


@dataclass(frozen=True, slots=True)
class Format:
    """Name a format, say what it is for, and where its `lines` function lives."""

    name: str
    summary: str
    module: str

    def load(self) -> Lines:
        """Import the format's module and return what turns conversations into lines of files."""
        lines: Lines = import_module(self.module).lines
        return lines


def _format(name: str, summary: str) -> tuple[str, Format]:
    return name, Format(name, summary, f"pytest_agentcap.formats.{name}")


FORMATS: Mapping[str, Format] = MappingProxyType(
    dict(
        (
            _format("sft", "TRL fine-tuning rows: messages and tools"),
            _format("dpo", "TRL preference pairs from passed and failed trials"),
            _format("sts", "session traces for the Hub's viewer"),
            _format("atif", "trajectories in the Agent Trajectory Interchange Format"),
            _format("otlp", "OpenTelemetry traces with GenAI attributes"),
            _format("agenttrace", "AgentTrace 0.3.0 rows with telemetry, as JSONL and parquet"),
            _format("agentcap", "run directories of agentcap itself"),
        )
    )
)
