"""`agentcap balance`: how a corpus is spread over its categories."""

from __future__ import annotations

import argparse
import json
import math

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.evals import add_output, emit, note
from pytest_agentcap.commands.output import complain


def add(commands: Commands) -> None:
    parser = commands.add_parser("balance", help="show how a corpus is spread over categories and polarities")
    parser.add_argument("prompts", metavar="PROMPTS", help="a JSONL corpus, or - for standard input")
    parser.add_argument("-k", "--key", default="category", help="the key of metadata that tells the category")
    parser.add_argument(
        "-t", "--threshold", type=_per_cent, default=50.0, metavar="PERCENT", help="of an even share (default 50)"
    )
    add_output(parser)
    parser.set_defaults(command=_run)


def _per_cent(text: str) -> float:
    value = float(text)
    if not math.isfinite(value) or value < 0:
        raise ValueError(text)
    return value


def _run(args: argparse.Namespace) -> int:
    from msgspec import to_builtins

    from pytest_agentcap.analysis.balance import analyze_balance, balance_text
    from pytest_agentcap.analysis.prompts import read_prompts

    analysis = analyze_balance(read_prompts(args.prompts, complain), args.key, args.threshold)
    note(balance_text(analysis, args.key))
    emit(json.dumps(to_builtins(analysis), indent=2, ensure_ascii=False), args.output)
    return 0
