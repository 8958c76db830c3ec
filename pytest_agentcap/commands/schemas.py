"""`agentcap schemas`: JSON Schemas of the files that are read and written."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.evals import emit, note


def add(commands: Commands) -> None:
    parser = commands.add_parser("schemas", help="show the JSON Schemas of the files that are read and written")
    parser.add_argument("name", nargs="?", help="only this one")
    parser.add_argument("-o", "--output", type=Path, metavar="PATH", help="write there; with --split a folder")
    parser.add_argument("-j", "--json", action="store_true", help="print the schemas, not their names")
    parser.add_argument("-s", "--split", action="store_true", help="write one file for each schema")
    parser.add_argument("-l", "--list", action="store_true", help="print the names")
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.schemas import NAMES, schema_of

    if args.name is not None and args.name not in NAMES:
        raise ValueError(f"there is no schema {args.name!r}; there are: {', '.join(NAMES)}")
    if args.split:
        if args.output is None:
            raise ValueError("--split: name the folder with -o")
        for name in [args.name] if args.name else NAMES:
            emit(_text(schema_of(name)), args.output / f"{name}.json")
        note(f"{args.output}: {1 if args.name else len(NAMES)} schemas")
    elif args.name is not None:
        emit(_text(schema_of(args.name)), args.output)
    elif args.json:
        emit(_text({name: schema_of(name) for name in NAMES}), args.output)
    else:
        head = "Available schemas:" if args.list else "Available schemas (use --json to export):"
        emit("\n".join([head, *(f"  - {name}" for name in NAMES)]) + "\n", args.output)
    return 0


def _text(document: object) -> str:
    return json.dumps(document, indent=2)
