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
    from pytest_agentcap.corpus.reader import corpus_files, read_corpus
    from pytest_agentcap.shipped import packaged

    root = packaged("corpora")
    found = {folder.name: files for folder in sorted(root.glob("*/")) if (files := corpus_files(folder))}
    if args.name is None:
        counts = {name: sum(len(read_corpus(path, root=root)) for path in files) for name, files in found.items()}
        rows = [[name, counts[name], root / name] for name in found]
        write_table(["NAME", "TASKS", "PATH"], rows)
    elif args.name in found:
        write(str(root / args.name))
    else:
        raise ValueError(f"no corpus {args.name!r} is shipped; there are: {', '.join(found)}")
    return 0
