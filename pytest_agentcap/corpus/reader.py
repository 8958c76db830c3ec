"""Read a corpus file into tasks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from pytest_agentcap.corpus import harbor
from pytest_agentcap.corpus.harbor import is_harbor_task, read_harbor_task
from pytest_agentcap.corpus.ids import assign_ids
from pytest_agentcap.corpus.images import find_images
from pytest_agentcap.corpus.jsonl import read_jsonl
from pytest_agentcap.corpus.repotasks import index_of, is_repo_task, read_repo_task, set_of
from pytest_agentcap.corpus.source import CorpusError, Entry, Source
from pytest_agentcap.corpus.task import Task
from pytest_agentcap.corpus.text import read_text

__all__ = ["CorpusError", "corpus_files", "corpus_name", "is_corpus_file", "is_corpus_name", "read_corpus"]

MAX_TEXT_BYTES = 1 << 20

_JSONL_SUFFIX = ".corpus.jsonl"
_FOLDER_CORPORA = ("tasks.txt", "prompts.jsonl")
_SURROGATE = re.compile("[\ud800-\udfff]")
_UTF8_BOM = b"\xef\xbb\xbf"


def is_corpus_name(name: str) -> bool:
    """Tell whether a file of this name is a corpus without being named on the command line."""
    return name in _FOLDER_CORPORA or (name.endswith(_JSONL_SUFFIX) and name != _JSONL_SUFFIX)


def is_corpus_file(path: Path) -> bool:
    """Tell the same of a file by its name and its place: a task on a repository is a corpus file, too."""
    return is_corpus_name(path.name) or is_single_task(path)


def is_single_task(path: Path) -> bool:
    """Tell whether a file is one task of a corpus of files."""
    return is_repo_task(path) or is_harbor_task(path)


def corpus_files(folder: Path) -> list[Path]:
    """Return the corpus files of a corpus's folder in their order, those of tasks that have a file each, too."""
    single = ("tasks/*/*/task_*", "*/task_*", f"*/{harbor.TASK_FILE}")
    files = [*folder.glob("*"), *(path for pattern in single for path in folder.glob(pattern))]
    return sorted(path for path in files if path.is_file() and is_corpus_file(path))


def corpus_name(path: Path) -> str:
    """Return the corpus name of a file: its folder's for `tasks.txt` and `prompts.jsonl`, else the file's own.

    A task on a repository belongs to its set, a Harbor task to the folder around its own.
    """
    if is_harbor_task(path):
        return path.absolute().parents[1].name
    if is_repo_task(path):
        return set_of(path)
    if path.name in _FOLDER_CORPORA:
        return path.resolve().parent.name or path.stem
    return path.name.removesuffix(_JSONL_SUFFIX).removesuffix(path.suffix)


def read_corpus(path: Path, *, root: Path) -> tuple[Task, ...]:
    """Read the tasks of a `.txt` or `.jsonl` corpus in file order, or the one of a `task_*.yaml` or `task.toml`.

    A task's `source` names the file relative to `root` when it lies there. Raises CorpusError for the first fault.
    """
    name = _shown(path, root)
    if is_single_task(path):
        return (_single_task(path, name),)
    read = _reader(path, name)
    source = Source(name, _decode(_read_bytes(path, name), name))
    entries = tuple(read(source))
    if not entries:
        raise source.error(1, "the corpus holds no task", "add at least one")
    for entry in entries:
        _check_texts(source, entry)
    ids = assign_ids((entry.id, entry.prompts[0]) for entry in entries)
    _check_ids(source, entries, ids)
    corpus = corpus_name(path)
    return tuple(
        replace(
            _task(entry, task_id, corpus, index, source),
            images=tuple(find_images(source, entry.line, path.parent, entry.images)),
        )
        for index, (entry, task_id) in enumerate(zip(entries, ids, strict=True), start=1)
    )


def _single_task(path: Path, name: str) -> Task:
    """Read a file that is one task of a corpus of files."""
    source, repo, task = Source(name, ""), None, None
    if is_repo_task(path):
        entry, repo = read_repo_task(path, name)
    else:
        entry, task = read_harbor_task(path, name)
    _check_texts(source, entry)
    (task_id,) = assign_ids([(entry.id, entry.prompts[0])])
    index = index_of(path) if repo else harbor.index_of(path)
    images = tuple(find_images(source, entry.line, repo.root if repo else path.parent, entry.images))
    return replace(_task(entry, task_id, corpus_name(path), index, source), repo=repo, harbor=task, images=images)


def _task(entry: Entry, task_id: str, corpus: str, index: int, source: Source) -> Task:
    return Task(
        id=task_id,
        prompts=entry.prompts,
        corpus=corpus,
        index=index,
        source=source.at(entry.line),
        hint=entry.hint,
        references=entry.references,
        metadata=entry.metadata,
        timeout_s=entry.timeout_s,
    )


def _reader(path: Path, name: str) -> Callable[[Source], Iterator[Entry]]:
    match path.suffix:
        case ".txt":
            return read_text
        case ".jsonl":
            return read_jsonl
        case _:
            raise CorpusError(f"{name}:1: no corpus format has this file name; name it *.txt or *.jsonl")


def _shown(path: Path, root: Path) -> str:
    absolute, base = path.absolute(), root.absolute()
    return (absolute.relative_to(base) if absolute.is_relative_to(base) else absolute).as_posix()


def _read_bytes(path: Path, name: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CorpusError(f"{name}:1: cannot be read ({error.strerror}); check the path and its permissions") from error


def _decode(data: bytes, name: str) -> str:
    start = len(_UTF8_BOM) if data.startswith(_UTF8_BOM) else 0
    try:
        return data[start:].decode("utf-8")
    except UnicodeDecodeError as error:
        offset = start + error.start
        line = data.count(b"\n", 0, offset) + 1
        problem = f"not UTF-8 (byte 0x{data[offset]:02x} at offset {offset})"
        raise CorpusError(f"{name}:{line}: {problem}; save the file as UTF-8") from None


def _check_texts(source: Source, entry: Entry) -> None:
    for what, text in _texts(entry):
        if "\0" in text:
            raise source.error(entry.line, f"a NUL character in the {what}", "remove it: no program can be given one")
        if _SURROGATE.search(text):
            raise source.error(entry.line, f"half of a surrogate pair in the {what}", "write the whole character")
        size = len(text.encode("utf-8"))
        if size > MAX_TEXT_BYTES:
            problem = f"the {what} has {size} bytes, more than {MAX_TEXT_BYTES} (1 MiB)"
            raise source.error(entry.line, problem, "put the material into the workspace instead")
    if not all(prompt.strip() for prompt in entry.prompts):
        raise source.error(entry.line, "the prompt is empty", "write what the agent is to do")


def _texts(entry: Entry) -> Iterator[tuple[str, str]]:
    yield from (("prompt", prompt) for prompt in entry.prompts)
    yield from (("reference", reference) for reference in entry.references)
    if entry.hint is not None:
        yield "hint", entry.hint


def _check_ids(source: Source, entries: tuple[Entry, ...], ids: tuple[str, ...]) -> None:
    # Compared without case: ids become file names, and two of them must not share a file on macOS.
    first: dict[str, tuple[str, int]] = {}
    for entry, task_id in zip(entries, ids, strict=True):
        earlier = first.setdefault(task_id.lower(), (task_id, entry.line))
        if earlier[1] != entry.line:
            spelling = "" if earlier[0] == task_id else f" as {earlier[0]!r}, and case does not tell ids apart"
            problem = f"the id {task_id!r} is used twice, first on line {earlier[1]}{spelling}"
            raise source.error(entry.line, problem, "give each task its own id")
