"""What previews show of a call and of a message, and what is printed of it; everything captured is printable here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from pytest_agentcap.conversation.model import Call, Image, Message, Opaque, Refusal, Text, Thinking, ToolCall
from pytest_agentcap.conversation.usage import Usage
from pytest_agentcap.inspect.calls import CallRow
from pytest_agentcap.inspect.query import highlight, pattern_of
from pytest_agentcap.inspect.summary import one_line, role_of
from pytest_agentcap.text import printable, reindent

# More than anybody scrolls through; fzf takes longer to lay it out than we to make it.
PREVIEW_CHARS = 40_000
_PROMPT_CHARS = 2_000
_MESSAGE_CHARS = 8_000
_BEFORE_FOUND = 200
_DIM, _BOLD, _END = "\x1b[2m", "\x1b[1m", "\x1b[0m"


def preview_call(row: CallRow, terms: Sequence[str]) -> str:
    """Show a call: its facts, its session's prompt, and what its messages are against the call that it follows."""
    blocks = [facts_of(row.call, row.request_bytes)]
    if row.prompt is not None:
        blocks += ["", _title("PROMPT"), _found_in(row.prompt, terms, _PROMPT_CHARS)]
    blocks += ["", _title(f"MESSAGES {row.label}")]
    if row.kept:
        blocks.append(f"{_DIM}  {row.kept} as before{_END}")
    for sign, messages, start in (("-", row.removed, row.kept), ("+", row.added, row.kept)):
        for at, message in enumerate(messages, start):
            blocks += [_title(f"{sign} [{at}] {role_of(message)}"), _found_in(text_of(message), terms, _MESSAGE_CHARS)]
    if row.call.said:
        blocks += ["", _title("RESPONSE"), _found_in(text_of(row.call.said), terms, _MESSAGE_CHARS)]
    if row.call.answer and row.call.answer.error:
        blocks += ["", _title("ERROR"), _found_in(row.call.answer.error.message, terms, _MESSAGE_CHARS)]
    return _cut("\n".join(blocks))


def facts_of(call: Call, request_bytes: int) -> str:
    """Return what is known of a call beside what was said, one line each; unknown is `-`."""
    record = call.record
    trial, attempt = (record.integer(name) for name in ("trial", "attempt"))
    again = "".join(
        f" · {name} {value}" for name, value in (("trial", trial), ("attempt", attempt)) if value and value > 1
    )
    started = call.started_at_ns
    time = datetime.fromtimestamp(started / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC") if started else "-"
    duration = record.number("duration_ms")
    lines = {
        "rid": call.rid,
        "task": f"{record.text('task_id') or '-'} · turn {_shown(call.turn)}{again}",
        "time": time + (f" · {duration:.0f} ms" if duration is not None else ""),
        "status": f"{_shown(call.status_code)}{_ending(call)}",
        "model": call.model or "-",
        "size": f"{request_bytes:,} bytes · {_tokens(call.usage)}",
    }
    return "\n".join(f"{_DIM}{name:<7}{_END}{one_line(value)}" for name, value in lines.items())


def _shown(value: int | None) -> str:
    return "-" if value is None else str(value)


def _ending(call: Call) -> str:
    if call.answer is None:
        return " · no response"
    if call.answer.finish_reason:
        return f" · {call.answer.finish_reason}"
    return "" if call.answer.ended else " · broke off"


def _tokens(usage: Usage) -> str:
    """Tell the server's own counts; what it did not count is not guessed."""
    if usage.prompt_tokens is None and usage.completion_tokens is None:
        return "tokens unknown"
    cached = f" ({usage.cached_tokens:,} cached)" if usage.cached_tokens else ""
    told = ("-" if count is None else f"{count:,}" for count in (usage.prompt_tokens, usage.completion_tokens))
    return " → ".join(told) + " tokens" + cached


def preview_text(text: str, terms: Sequence[str]) -> str:
    """Show a text as it is, as far as a preview goes, around the first term when it stands further behind."""
    return _found_in(text, terms, PREVIEW_CHARS)


def text_of(message: Message) -> str:
    """Return what a message holds as text: thinking, texts, calls with their arguments laid out, results."""
    return "\n\n".join(_pieces(message)).strip("\n")


def _pieces(message: Message) -> Iterator[str]:
    for part in message.parts:
        match part:
            case Text() | Refusal():
                yield part.text
            case Thinking():
                yield f"(thinking) {part.text}" if part.text else "(thinking, encrypted)"
            case ToolCall():
                yield f"→ {part.name} {part.id or ''}".rstrip() + f"\n{reindent(part.arguments)}"
            case Image():
                yield f"(image {part.media_type or part.url or ''})"
            case Opaque():
                yield f"({part.kind}) {reindent(part.json)}"
            case _:
                named = (part.name, part.call_id, "(error)" if part.is_error else None)
                yield " ".join(filter(None, ("←", *named))) + f"\n{part.text}"


def _title(text: str) -> str:
    return f"{_BOLD}{one_line(text)}{_END}"


def _found_in(text: str, terms: Sequence[str], limit: int) -> str:
    """Cut a text to a part of it that shows a term, and highlight the terms."""
    start = 0
    if len(text) > limit:
        pattern = pattern_of(terms)
        found = pattern.search(text) if pattern else None
        start = max(0, found.start() - _BEFORE_FOUND) if found and found.end() > limit else 0
    before = f"{_DIM}… {start:,} characters before{_END}\n" if start else ""
    behind = len(text) - start - limit
    after = f"\n{_DIM}… {behind:,} characters more{_END}" if behind > 0 else ""
    return before + highlight(printable(text[start : start + limit]), terms) + after


def _cut(text: str) -> str:
    if len(text) <= PREVIEW_CHARS:
        return text
    return f"{text[: text.rindex(chr(10), 0, PREVIEW_CHARS)]}\n{_DIM}… {len(text) - PREVIEW_CHARS:,} more{_END}"
