"""A session's steps as agent-eval-harness tells them, from the wire: what was said, and which tools were called.

Side questions and compactions are no steps of the work, and left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import UNSET

from pytest_agentcap.conversation.model import Call
from pytest_agentcap.conversation.session import Conversation, ToolUse
from pytest_agentcap.formats.eval_rows import Message, Plan, Richness, Step, Thought, ToolCall

# The tools by which agents keep a plan, and the argument that holds its entries.
_PLANS = {
    "todowrite": "todos",
    "todo_write": "todos",
    "write_todos": "todos",
    "update_plan": "plan",
    "todo": "todos",
}


def trajectory_of(conversation: Conversation, start_ns: int | None) -> list[Step]:
    """Tell the steps in the order in which they came; timestamps are ms since `start_ns`, None where not known."""
    uses = {id(use.call): use for use in conversation.tool_uses}
    steps: list[Step] = []
    for call in _calls(conversation):
        steps.extend(_steps(call, uses, _since(call.ended_at_ns, start_ns)))
    return steps


def _calls(conversation: Conversation) -> Iterator[Call]:
    """Yield the calls that did the task's work, without those whose half answer was asked for again."""
    threads = [thread for thread in conversation.threads if thread.kind in ("main", "subagent")]
    again = {id(step.previous) for thread in threads for step in thread.steps if step.relation == "retries"}
    work = {id(call) for thread in threads for call in thread.calls if not (call.failed and id(call) in again)}
    return (call for call in conversation.calls if id(call) in work)


def _steps(call: Call, uses: dict[int, ToolUse], at: float | None) -> Iterator[Step]:
    said = call.said
    if said is None:
        return
    if said.thinking:
        yield Thought(content=said.thinking, timestamp=at)
    if said.text:
        yield Message(content=said.text, timestamp=at)
    for tool_call in said.tool_calls:
        use = uses.get(id(tool_call))
        arguments = tool_call.parsed_arguments
        yield ToolCall(
            name=tool_call.name,
            status=_status(use),
            input=tool_call.arguments if arguments is None else arguments,
            output=use.result.text if use and use.result else UNSET,
            duration=_duration(use),
            timestamp=at,
            step_id=tool_call.id if tool_call.id is not None else UNSET,
        )
        entries = _plan(tool_call.name, arguments)
        if entries:
            yield Plan(entries=entries, timestamp=at)


def _status(use: ToolUse | None) -> str:
    if use is None or use.result is None:
        return "pending"
    return "failed" if use.result.is_error else "completed"


def _duration(use: ToolUse | None) -> Any:
    if use is None or use.started_at_ns is None or use.ended_at_ns is None:
        return UNSET
    return round((use.ended_at_ns - use.started_at_ns) / 1e6, 3)


def _plan(name: str, arguments: dict[str, Any] | None) -> list[Any]:
    entries = (arguments or {}).get(_PLANS.get(name.lower(), ""))
    return entries if isinstance(entries, list) else []


def _since(at_ns: int | None, start_ns: int | None) -> float | None:
    return None if at_ns is None or start_ns is None else round((at_ns - start_ns) / 1e6, 3)


def richness_of(steps: list[Step]) -> Richness:
    """Tell how much a trajectory has: `full` is thoughts, plans or tool calls, `minimal` is nothing."""
    if any(not isinstance(step, Message) for step in steps):
        return "full"
    return "messages-only" if steps else "minimal"


def has_failed(steps: list[Step]) -> bool:
    """Tell whether a tool call of a trajectory failed."""
    return any(isinstance(step, ToolCall) and step.status == "failed" for step in steps)
