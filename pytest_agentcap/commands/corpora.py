"""`agentcap corpora`: where the shipped corpora lie, for `pytest $(agentcap corpora quickstart)`."""

from __future__ import annotations

import argparse

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.output import write, write_table


def add(commands: Commands) -> None:
    parser = commands.add_parser("corpora", help="list the shipped corpora, or print the path of one")
    parser.add_argument("name", nargs="?", help="print only this corpus's path")
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.corpus.reader import is_corpus_name, read_corpus
    from pytest_agentcap.shipped import packaged

    root = packaged("corpora")
    found = {path.parent.name: path for path in sorted(root.glob("*/*")) if is_corpus_name(path.name)}
    if args.name is None:
        rows = [[name, len(read_corpus(path, root=root)), path.parent] for name, path in found.items()]
        write_table(["NAME", "TASKS", "PATH"], rows)
    elif args.name in found:
        write(str(found[args.name].parent))
    else:
        raise ValueError(f"no corpus {args.name!r} is shipped; there are: {', '.join(found)}")
    return 0
