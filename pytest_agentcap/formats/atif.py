"""The Agent Trajectory Interchange Format, version 1.7: one document for each session.

Source of the format: https://www.harborframework.com/docs/trajectory-format
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pytest_agentcap.conversation.model import Image, Opaque, Part, Refusal, Text, ToolCall, ToolResult
from pytest_agentcap.conversation.session import Conversation, Entry, transcript
from pytest_agentcap.conversation.threads import Thread
from pytest_agentcap.conversation.usage import Usage
from pytest_agentcap.formats.chat_shape import image_url, shape_tools
from pytest_agentcap.formats.facts import run_of, session_facts
from pytest_agentcap.formats.lines import Line, file_name, json_line

VERSION = "ATIF-v1.7"
_IMAGES = frozenset(("image/jpeg", "image/png", "image/gif", "image/webp"))


def lines(conversations: Iterable[Conversation]) -> Iterator[Line]:
    """Yield one file for each session, `<run>/<session>.json`."""
    for conversation in conversations:
        if conversation.threads:
            file = file_name(run_of(conversation), conversation.name, ".json")
            yield json_line(file, trajectory(conversation))


def trajectory(conversation: Conversation) -> dict[str, Any]:
    """Tell a session: its main thread, with the other threads as embedded trajectories that say which kind they are."""
    main = conversation.main or conversation.threads[0]
    document = _document(conversation, main)
    others = [_document(conversation, thread) for thread in conversation.threads if thread is not main]
    return {**document, **({"subagent_trajectories": others} if others else {})}


def _document(conversation: Conversation, thread: Thread) -> dict[str, Any]:
    facts = session_facts(conversation)
    first = thread.steps[0].call
    agent = {
        "name": facts["agent"] or "unknown",
        "version": facts["agent_version"] or "unknown",
        "model_name": first.model,
        "tool_definitions": shape_tools(first.request.tools) or None,
    }
    failed = [
        {"request_id": call.rid, "status_code": call.status_code, "error": call.answer.error.message}
        for call in thread.calls
        if call.answer and call.answer.error
    ]
    known = {name: facts[name] for name in ("run_id", "corpus", "task_id", "trial", "attempt", "verdict", "label")}
    parent = thread.parent.rid if thread.parent else None
    extra = {**known, "thread_kind": thread.kind, "parent_request_id": parent, "failed_calls": failed or None}
    return {
        "schema_version": VERSION,
        "session_id": f"{run_of(conversation)}/{conversation.name}",
        "trajectory_id": f"{run_of(conversation)}/{conversation.name}/{thread.index}",
        "agent": _known(agent),
        "steps": _steps(thread),
        "final_metrics": _totals(thread),
        "extra": _known(extra),
    }


def _steps(thread: Thread) -> list[dict[str, Any]]:
    builder = _Steps()
    for entry in transcript(thread):
        builder.add(entry)
    return builder.steps


@dataclass(slots=True)
class _Steps:
    """Turn a transcript's entries into steps; results of tools join the step that called them."""

    steps: list[dict[str, Any]] = field(default_factory=list)
    waiting: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(self, entry: Entry) -> None:
        if entry.message.tool_results:
            for result in entry.message.tool_results:
                self._add_result(entry, result)
            return
        source = {"assistant": "agent", "tool": "system"}.get(entry.message.role, entry.message.role)
        step = self._append(entry, source, _content(entry.message.parts))
        if source == "agent":
            self._fill(step, entry)

    def _append(self, entry: Entry, source: str, message: Any) -> dict[str, Any]:
        at = entry.at_ns
        told = {"timestamp": None if at is None else datetime.fromtimestamp(at / 1e9, UTC).isoformat()}
        copied = {"is_copied_context": True if entry.copied else None}
        step = {"step_id": len(self.steps) + 1, **_known(told), "source": source, "message": message, **_known(copied)}
        self.steps.append(step)
        return step

    def _fill(self, step: dict[str, Any], entry: Entry) -> None:
        message, calls = entry.message, entry.message.tool_calls
        if message.thinking:
            step["reasoning_content"] = message.thinking
        if calls:
            step["tool_calls"] = [_call(call, f"call_{step['step_id']}_{n}") for n, call in enumerate(calls, 1)]
            for told in step["tool_calls"]:
                self.waiting[told["tool_call_id"]] = step
        if not entry.answer:
            # Said in a call that was not captured: nothing is known of it.
            return
        call = entry.call
        model = (call.answer.model if call.answer else None) or call.model
        step |= _known({"model_name": model, "reasoning_effort": call.request.sampling.reasoning_effort})
        step |= {"llm_call_count": 1, **_known({"metrics": _known(_metrics(call.usage)) or None})}
        reason = call.answer.finish_reason if call.answer else None
        step["extra"] = {"request_id": call.rid, "finish_reason": reason, "complete": not call.failed}

    def _add_result(self, entry: Entry, result: ToolResult) -> None:
        step, identity = self._asker(result)
        if step is None:
            step = self._append(entry, "system", "")
        told = _known({"source_call_id": identity, "content": _content(result.parts)})
        failed = {"extra": {"is_error": result.is_error}} if result.is_error is not None else {}
        step.setdefault("observation", {"results": []})["results"].append({**told, **failed})

    def _asker(self, result: ToolResult) -> tuple[dict[str, Any] | None, str | None]:
        """Return the step a result belongs to and its call's id there; ids that nobody gave are taken in order."""
        if result.call_id is not None:
            step = self.waiting.pop(result.call_id, None)
            return step, result.call_id if step else None
        for identity, step in self.waiting.items():
            if identity.startswith("call_"):
                del self.waiting[identity]
                return step, identity
        return None, None


def _content(parts: Iterable[Part]) -> str | list[dict[str, Any]]:
    seen = [part for part in parts if isinstance(part, Text | Image | Refusal | Opaque)]
    if not any(_is_image(part) for part in seen):
        return "\n".join(_text(part) for part in seen)
    return [
        {"type": "image", "source": {"media_type": _media_type(part), "path": image_url(part)}}
        if isinstance(part, Image) and _is_image(part)
        else {"type": "text", "text": _text(part)}
        for part in seen
    ]


def _is_image(part: Part) -> bool:
    return isinstance(part, Image) and _media_type(part) in _IMAGES


def _media_type(image: Image) -> str | None:
    """Return an image's type, by its name's ending where nobody told."""
    if image.media_type or image.url is None:
        return "image/jpeg" if image.media_type == "image/jpg" else image.media_type
    ending = image.url.partition("?")[0].rpartition(".")[2].lower()
    return f"image/{'jpeg' if ending == 'jpg' else ending}"


def _text(part: Part) -> str:
    match part:
        case Text() | Refusal():
            return part.text
        case Image():
            return image_url(part)
        case Opaque():
            return part.json
        case _:
            return ""


def _call(call: ToolCall, fallback: str) -> dict[str, Any]:
    arguments = call.parsed_arguments
    told = {"tool_call_id": call.id or fallback, "function_name": call.name}
    if arguments is not None:
        return {**told, "arguments": arguments}
    return {**told, "arguments": {}, "extra": {"unparsed_arguments": call.arguments, "kind": call.kind}}


def _metrics(usage: Usage) -> dict[str, Any]:
    reasoning = None if usage.reasoning_tokens is None else {"reasoning_tokens": usage.reasoning_tokens}
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "cached_tokens": usage.cached_tokens,
        "extra": reasoning,
    }


def _totals(thread: Thread) -> dict[str, Any]:
    """Add up what was told; how many calls told nothing is beside it, and with none told there is no sum."""
    totals: dict[str, Any] = {}
    for name in ("prompt_tokens", "completion_tokens", "cached_tokens"):
        told = [value for call in thread.calls if (value := getattr(call.usage, name)) is not None]
        totals[f"total_{name}"] = sum(told) if told else None
    silent = sum(call.usage.prompt_tokens is None for call in thread.calls)
    return {**_known(totals), "extra": {"calls": len(thread.calls), "calls_without_usage": silent}}


def _known(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
