from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pytest_agentcap.sandbox.base import SandboxError
from pytest_agentcap.sandbox.tools import place_of_its_own, tool_environment

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def program(name: str, text: str, mode: int = 0o755) -> Path:
        path = tmp_path / "tools" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return tmp_path / "tools"

    return program


def test_programs_are_found_in_each_bin_and_in_the_folder_itself(write: Write) -> None:
    write("zig/bin/zig", "")
    write("env/bin/python", "")
    write("env/lib/bin/no", "")
    folder = write("bin/greet", "")
    found = tool_environment(folder, "/t", "/usr/bin:/bin")
    assert found["PATH"] == "/t/bin:/t/env/bin:/t/zig/bin:/t:/usr/bin:/bin"
    assert (found["AGENTCAP_TOOL_DIR"], found["AGENTCAP_TOOL_BIN"]) == ("/t", "/t/bin")


@pytest.mark.parametrize("first", ["#!{}/bin/python3\n", '#!/bin/sh\n\'\'\'exec\' "{}/bin/python3" "$0" "$@"\n'])
def test_scripts_of_a_python_environment_want_the_folder_at_its_own_path(write: Write, first: str) -> None:
    folder = write("bin/greet", "#!/bin/sh\necho hello\n")
    assert place_of_its_own(folder, ()) is None
    write("env/bin/tool", first.format(f"{folder}/env"))
    assert place_of_its_own(folder, ()) == str(folder)


def test_a_path_in_what_is_no_script_asks_for_nothing(write: Write) -> None:
    folder = write("bin/greet", "#!/bin/sh\necho hello\n")
    write("bin/notes", f"#!{folder}/bin/x\n", 0o644)
    write("bin/binary", f"\x7fELF {folder}/lib")
    write("bin/late", f"#!/bin/sh\n\n# {folder}/bin\n")
    (folder / "bin/gone").symlink_to("/nowhere")
    assert place_of_its_own(folder, ()) is None


@pytest.mark.parametrize("taken", [".", "..", "bin"])
def test_a_path_that_is_the_containers_own_is_refused(write: Write, taken: str) -> None:
    folder = write("bin/greet", "#!/bin/sh\n")
    write("bin/tool", f"#!{folder}/bin/python3\n")
    with pytest.raises(SandboxError, match=f"^--tool-dir {folder}: its programs begin with this path"):
        place_of_its_own(folder, [str((folder / taken).resolve())])
