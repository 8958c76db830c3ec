"""`agentcap corpora`: where the shipped corpora lie, for `pytest $(agentcap corpora quickstart)`; public sets."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.output import write, write_table

_FETCH = "fetch"


def add(commands: Commands) -> None:
    parser = commands.add_parser(
        "corpora", help="list the shipped corpora, print the path of one, or fetch a public one"
    )
    parser.add_argument(
        "name", nargs="?", help=f"print only this corpus's path; `{_FETCH}` makes a corpus of a public dataset"
    )
    parser.add_argument("dataset", nargs="?", help=f"what to {_FETCH}: mbpp or nl2bash")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help=f"the new folder that {_FETCH} writes")
    parser.add_argument(
        "--revision",
        metavar="REV",
        help=f"the commit, tag or branch to {_FETCH}; main is the newest (default: the commit known to this version)",
    )
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    if args.name == _FETCH:
        return _fetch(args)
    if args.dataset or args.output or args.revision:
        raise ValueError(f"corpora: a dataset, -o and --revision go with {_FETCH}")
    return _list(args)


def _list(args: argparse.Namespace) -> int:
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


def _fetch(args: argparse.Namespace) -> int:
    from pytest_agentcap.corpus.public import PUBLIC, fetch
    from pytest_agentcap.runs.layout import write_whole
    from pytest_agentcap.shipped import packaged

    if args.dataset not in PUBLIC:
        raise ValueError(f"corpora fetch: name one of {', '.join(PUBLIC)}")
    if args.output is None:
        raise ValueError("corpora fetch: name the new folder with -o DIR")
    if args.output.exists():
        raise ValueError(f"{args.output} exists: name a new folder")
    commit, lines = fetch(args.dataset, args.revision)
    args.output.mkdir(parents=True)
    write_whole(args.output / "prompts.jsonl", "".join(lines).encode("utf-8", "surrogatepass"))
    shipped = PUBLIC[args.dataset].shipped
    if shipped:
        shutil.copyfile(packaged("corpora") / shipped / "conftest.py", args.output / "conftest.py")
    write(f"{args.output}: {len(lines)} tasks of {PUBLIC[args.dataset].repository}@{commit}")
    return 0
