from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_agentcap.corpus.reader import CorpusError, corpus_name, is_corpus_name, read_corpus
from pytest_agentcap.corpus.source import Source
from pytest_agentcap.corpus.text import read_text


def write(tmp_path: Path, content: bytes, name: str = "tasks.txt") -> Path:
    folder = tmp_path / "greetings"
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(content)
    return path


def prompts(path: Path) -> list[str]:
    return [task.prompt for task in read_corpus(path, root=path.parent)]


def test_each_line_but_comments_and_blank_ones_is_a_prompt(tmp_path: Path) -> None:
    path = write(tmp_path, b"# greetings\n\n  Say hello. \n\t\n   # indented comment\nSay C# and #1.\n")

    tasks = read_corpus(path, root=tmp_path)

    assert [task.prompts for task in tasks] == [("Say hello.",), ("Say C# and #1.",)]
    assert [task.index for task in tasks] == [1, 2]
    assert [task.source for task in tasks] == ["greetings/tasks.txt:3", "greetings/tasks.txt:6"]
    assert {task.corpus for task in tasks} == {"greetings"}
    assert all(task.hint is None and not task.references and not task.metadata for task in tasks)


def test_a_source_outside_of_the_root_is_absolute(tmp_path: Path) -> None:
    path = write(tmp_path, b"Say hello.\n")

    (task,) = read_corpus(path, root=tmp_path / "elsewhere")

    assert task.source == f"{path}:1"


def test_only_newlines_separate_prompts(tmp_path: Path) -> None:
    path = write(tmp_path, "one\r\ntwo\u2028still two\x0bstill two\x85still two\rstill two\r\nthree".encode())

    assert prompts(path) == ["one", "two\u2028still two\x0bstill two\x85still two\rstill two", "three"]


def test_a_byte_order_mark_is_dropped(tmp_path: Path) -> None:
    assert prompts(write(tmp_path, b"\xef\xbb\xbf# comment\nSay hello.\n")) == ["Say hello."]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"# only a comment\n", b"\xef\xbb\xbf"])
def test_a_corpus_without_a_task_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(CorpusError, match=r"^greetings/tasks\.txt:1: the corpus holds no task; add at least one$"):
        read_corpus(write(tmp_path, content), root=tmp_path)


@pytest.mark.parametrize(("start", "offset"), [(b"", 15), (b"\xef\xbb\xbf", 18)])
def test_what_is_not_utf8_is_refused_with_line_and_offset_in_the_file(
    tmp_path: Path, start: bytes, offset: int
) -> None:
    path = write(tmp_path, start + b"Say hello.\nSay \xff.\n")

    with pytest.raises(CorpusError) as caught:
        read_corpus(path, root=tmp_path)

    assert str(caught.value) == (
        f"greetings/tasks.txt:2: not UTF-8 (byte 0xff at offset {offset}); save the file as UTF-8"
    )


def test_a_nul_in_a_prompt_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"^greetings/tasks\.txt:2: a NUL character in the prompt; "):
        read_corpus(write(tmp_path, b"one\ntw\0o\n"), root=tmp_path)


def test_a_prompt_may_have_one_mebibyte_and_no_byte_more(tmp_path: Path) -> None:
    limit = 1 << 20

    assert len(prompts(write(tmp_path, b"x" * limit))[0]) == limit
    with pytest.raises(CorpusError, match=r"^greetings/tasks\.txt:1: the prompt has 1048577 bytes, more than 1048576 "):
        read_corpus(write(tmp_path, b"x" * (limit - 1) + "é".encode()), root=tmp_path)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"^absent\.txt:1: cannot be read \(No such file or directory\); "):
        read_corpus(tmp_path / "absent.txt", root=tmp_path)


def test_a_file_name_of_no_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match=r"^greetings/tasks\.md:1: .*; name it \*\.txt or \*\.jsonl$"):
        read_corpus(write(tmp_path, b"Say hello.\n", "tasks.md"), root=tmp_path)


def test_corpus_files_are_known_by_name() -> None:
    assert all(map(is_corpus_name, ["tasks.txt", "prompts.jsonl", "nightly.corpus.jsonl"]))
    assert not any(map(is_corpus_name, ["notes.txt", "data.jsonl", "Tasks.txt", ".corpus.jsonl", "corpus.jsonl"]))


def test_a_corpus_has_the_name_of_its_folder_or_of_its_file(tmp_path: Path) -> None:
    assert corpus_name(tmp_path / "quickstart" / "prompts.jsonl") == "quickstart"
    assert corpus_name(tmp_path / "quickstart" / "tasks.txt") == "quickstart"
    assert corpus_name(tmp_path / "evals" / "nightly.corpus.jsonl") == "nightly"
    assert corpus_name(tmp_path / "evals" / "smoke.txt") == "smoke"


@settings(deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_every_line_is_accounted_for(text: str) -> None:
    stripped = [line.strip() for line in text.split("\n")]

    entries = list(read_text(Source("tasks.txt", text)))

    assert [entry.prompts[0] for entry in entries] == [line for line in stripped if line and line[0] != "#"]
    assert all(stripped[entry.line - 1] == entry.prompts[0] for entry in entries)
