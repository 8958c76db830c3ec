"""`agentcap show`: a run's calls, or one call as it was on the wire."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.output import complain, write, write_json, write_table
from pytest_agentcap.runs.captures import Capture, CaptureError, Half, read_half, read_head, wire_bytes
from pytest_agentcap.runs.layout import RunDirectory, workspace_folder
from pytest_agentcap.runs.listing import TargetError, find_call, find_run, summarize_run
from pytest_agentcap.text import reindent


def add(commands: Commands) -> None:
    parser = commands.add_parser("show", help="show a run's calls, or one call")
    parser.add_argument("target", metavar="TARGET", help="a run id, a run directory, or a rid or its first digits (4+)")
    parser.add_argument("--request", action="store_true", help="only the request's body")
    parser.add_argument("--response", action="store_true", help="only the response's body")
    parser.add_argument("--messages", action="store_true", help="what was said, whatever the API: messages and answer")
    style = parser.add_mutually_exclusive_group()
    style.add_argument("--raw", action="store_true", help="bodies byte for byte, not laid out and not escaped")
    style.add_argument("--json", action="store_true", help="print the records as JSON")
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    folder = workspace_folder()
    run = find_run(folder, args.target)
    if run:
        if args.request or args.response or args.messages or args.raw:
            raise TargetError(f"{args.target} is a run: --request, --response, --messages and --raw are for one call")
        return _show_run(run, args.json)
    capture = find_call(folder, args.target)
    if capture is None:
        raise TargetError(f"{args.target} is neither a run nor the first 4 or more digits of a call in {folder}")
    if args.messages:
        if args.request or args.response or args.raw:
            raise TargetError("--messages goes with --json alone: it shows neither bodies nor halves")
        _show_messages(capture, args.json)
        return 0
    halves = [name for name in ("request", "response") if getattr(args, name)] or ["request", "response"]
    if args.json:
        _show_records(capture, halves)
    else:
        _show_call(capture, halves, chosen=args.request or args.response, raw=args.raw)
    return 0


def _show_run(run: RunDirectory, as_json: bool) -> int:
    from pytest_agentcap.runs.order import order_calls, results_by_session

    results, errors = results_by_session(run)
    order = order_calls(run, results)
    calls = [_describe_call(run, rid) for rid in order.rids]
    for line in (*errors, *order.errors):
        complain(line)
    if as_json:
        write_json(calls)
    else:
        names = ("task_id", "turn", "call_index", "api", "status_code", "duration_ms")
        rows = [
            [*(call[name] for name in names), call["prompt_tokens"], call["completion_tokens"], call["request_id"][:8]]
            for call in calls
        ]
        write_table(["TASK", "TURN", "CALL", "API", "STATUS", "MS", "PROMPT", "COMPLETION", "RID"], rows)
        if not summarize_run(run).finished:
            complain(f"the run is unfinished: `agentcap export {run.id}` brings in what a crash left behind")
    return 0


def _describe_call(run: RunDirectory, rid: str) -> dict[str, Any]:
    from pytest_agentcap.conversation.usage import usage_of

    request = read_head(run.captures / f"{rid}.request.json")
    path = run.captures / f"{rid}.response.json"
    response, error = None, None
    try:
        response = read_half(path) if path.exists() else None
    except (CaptureError, OSError):
        error = "unreadable_response"
    head = response.head if response else {}
    usage = usage_of(str(request.get("api") or "chat"), response)
    names = ("task_id", "trial", "attempt", "turn", "call_index", "api")
    return {
        "request_id": rid,
        **{name: request.get(name) for name in names},
        **{name: head.get(name) for name in ("status_code", "complete", "duration_ms")},
        "error": error or head.get("error"),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
    }


def _show_messages(capture: Capture, as_json: bool) -> None:
    """Print a call's messages and answers: as rows with their texts, or as chat completions shape them."""
    from pytest_agentcap.conversation.read import read_call
    from pytest_agentcap.conversation.records import record_of_capture
    from pytest_agentcap.formats.chat_shape import shape_message, shape_messages
    from pytest_agentcap.inspect.messages import rows_of

    call = read_call(record_of_capture(capture, {}))
    if as_json:
        write_json(
            {
                "request_id": call.rid,
                "messages": shape_messages(call.request.messages),
                "response": shape_message(call.said) if call.said else None,
                "error": call.answer.error.message if call.answer and call.answer.error else None,
            }
        )
        return
    for row in rows_of(call):
        write(f"{'' if row.index is None else f'[{row.index}] '}{row.role}\n{row.text}\n")


def _show_records(capture: Capture, halves: list[str]) -> None:
    """Print the files of a call as one JSON document, or one of them alone."""
    records = {}
    for name in halves:
        path = capture.folder / f"{capture.rid}.{name}.json"
        records[name] = path.read_text("utf-8", "backslashreplace") if path.exists() else "null"
    members = ",".join(f'"{name}":{text}' for name, text in records.items())
    write(reindent(records[halves[0]] if len(halves) == 1 else f"{{{members}}}"))


def _show_call(capture: Capture, halves: list[str], chosen: bool, raw: bool) -> None:
    for name in halves:
        half = capture.request if name == "request" else capture.response
        if half is None:
            if chosen:
                raise TargetError(f"{capture.rid} has no response")
            write("(no response)")
        elif raw:
            sys.stdout.flush()
            sys.stdout.buffer.write(wire_bytes(half))
        else:
            if not chosen:
                _show_head(half)
            stream = json.loads(half.text) if half.key == "raw" else None
            write(stream if isinstance(stream, str) else reindent(half.text.decode("utf-8", "replace")))


def _show_head(half: Half) -> None:
    for key, value in half.head.items():
        if key not in ("body_bytes", "body_base64", "raw_base64"):
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            write(f"{key}: {text}".replace("\n", "\\n"))
    write("")
