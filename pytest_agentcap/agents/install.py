"""Install agents on this machine for the host sandbox, each into a folder of its own below one prefix."""

from __future__ import annotations

import argparse
import fcntl
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec

from pytest_agentcap.agents.find import find_agent, find_agents
from pytest_agentcap.agents.spec import AgentError, AgentSpec, Install

# npm silently takes an older release of an agent when the Node that runs it is too old: all agents get this one.
NODE = "node@22.23.3"


def default_prefix() -> Path:
    """Return where agents are installed unless a prefix is given."""
    return Path.home() / ".cache" / "agentcap" / "agents"


def install_agent(agent: AgentSpec, prefix: Path, progress: Callable[[str], None], node: str = NODE) -> Path:
    """Install what `agent.install` lists unless it is there, and return the agent's program, `prefix/bin/EXECUTABLE`.

    The program is a script: its folder on PATH brings the agents and nothing of what is installed with them. What npm
    and pip print goes to a log beside the agent's folder, `prefix/npm/NAME.log` or `prefix/venv/NAME.log`. Raises
    AgentError in one line when something cannot be installed.
    """
    if not (agent.install.npm or agent.install.pip):
        raise AgentError(
            f"{agent.name}: its agent.toml lists no packages to install; see {agent.homepage or 'its page'}"
        )
    program = prefix / "bin" / agent.executable
    with _locked(prefix):
        programs, needed = [], []
        if agent.install.npm:
            needed = [_npm([node], prefix / "node", [], progress)]
            programs.append(_npm(agent.install.npm, prefix / "npm" / agent.name, needed, progress))
        if agent.install.pip:
            programs.append(_venv(agent.install, prefix / "venv" / agent.name, progress))
        found = shutil.which(agent.executable, path=_joined(programs))
        if found is None:
            raise AgentError(f"{agent.name}: no program {agent.executable} was installed in {_joined(programs)}")
        _write_program(program, Path(found), needed)
    return program


def _npm(packages: Sequence[str], folder: Path, path: Sequence[Path], progress: Callable[[str], None]) -> Path:
    """Install npm packages into a folder, with `path` before PATH; return the folder of their programs."""
    wanted = {"npm": list(packages)}
    if not _is_installed(folder, wanted):
        if shutil.which("npm") is None:
            raise AgentError("npm is not on PATH: install Node.js")
        progress(f"installing {' '.join(packages)}")
        command = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), *packages]
        _start_over(folder)
        _run(command, folder, {**os.environ, "PATH": f"{_joined([*path, ''])}{os.environ.get('PATH', os.defpath)}"})
        _mark_installed(folder, wanted)
    return folder / "node_modules" / ".bin"


def _venv(install: Install, folder: Path, progress: Callable[[str], None]) -> Path:
    """Install Python packages into a virtual environment; return the folder of its programs."""
    wanted = {"pip": list(install.pip), "python": install.python}
    if not _is_installed(folder, wanted):
        python = find_python(install.python)
        progress(f"installing {' '.join(install.pip)}")
        _start_over(folder)
        _run([python, "-m", "venv", str(folder)], folder, os.environ)
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
        _run([*pip, *install.pip], folder, os.environ)
        _mark_installed(folder, wanted)
    return folder / "bin"


def find_python(version: str | None) -> str:
    """Return a Python of a minor version such as `3.12`: on PATH, or among those of pyenv and uv. None is this one.

    Raises AgentError.
    """
    if version is None or version == ".".join(map(str, sys.version_info[:2])):
        return sys.executable
    for candidate in _pythons(version):
        asked = [candidate, "-c", "import sys, venv; print('%d.%d' % sys.version_info[:2])"]
        answer = subprocess.run(asked, capture_output=True, text=True, check=False)
        if answer.returncode == 0 and answer.stdout.strip() == version:
            return candidate
    raise AgentError(
        f"there is no Python {version}: install one (pyenv install {version}, uv python install {version})"
    )


def _pythons(version: str) -> Iterator[str]:
    # pyenv puts a python3.12 on PATH that may only say that it is not the chosen one: there may be others behind it.
    yield from (str(Path(folder) / f"python{version}") for folder in os.get_exec_path() if _has(folder, version))
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or Path.home() / ".local" / "share" / "uv" / "python")
    for root in (pyenv, uv):
        yield from map(str, sorted(root.glob(f"*{version}.*/bin/python{version}"), reverse=True))


def _has(folder: str, version: str) -> bool:
    return os.access(Path(folder) / f"python{version}", os.X_OK)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time change what is installed."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _is_installed(folder: Path, wanted: object) -> bool:
    mark = _mark(folder)
    return mark.is_file() and mark.read_bytes() == msgspec.json.encode(wanted)


def _mark_installed(folder: Path, wanted: object) -> None:
    _mark(folder).write_bytes(msgspec.json.encode(wanted))


def _mark(folder: Path) -> Path:
    return folder / ".agentcap-installed.json"


def _start_over(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Run an installer; what it prints is added to the log beside its folder."""
    log = folder.with_name(f"{folder.name}.log")
    with log.open("ab") as output:
        done = subprocess.run(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output, check=False
        )
    if done.returncode != 0:
        raise AgentError(f"{shlex.join(command)} ended with {done.returncode}: see {log}")


def _write_program(program: Path, real: Path, path: Sequence[Path]) -> None:
    """Write the script that starts an agent, with `path` before PATH."""
    lines = ["#!/bin/sh", f'exec {shlex.quote(str(real))} "$@"', ""]
    if path:
        lines.insert(1, f'export PATH={shlex.quote(_joined(path))}:"$PATH"')
    program.parent.mkdir(parents=True, exist_ok=True)
    partial = program.with_name(f".{program.name}.partial")
    partial.write_text("\n".join(lines))
    partial.chmod(0o755)
    partial.replace(program)


def _joined(folders: Sequence[Path | str]) -> str:
    return os.pathsep.join(map(str, folders))


def main(argv: Sequence[str] | None = None) -> int:
    """Install the agents that are named, or all that list packages, and print the line that puts them on PATH."""
    parser = argparse.ArgumentParser(prog="tools/install-agents", description=main.__doc__, allow_abbrev=False)
    parser.add_argument("names", nargs="*", metavar="NAME", help="an agent; all that list packages by default")
    parser.add_argument(
        "--prefix", type=Path, default=default_prefix(), metavar="DIR", help="where to; %(default)s by default"
    )
    args = parser.parse_args(argv)
    prefix: Path = args.prefix.expanduser().absolute()
    try:
        for agent in _chosen(args.names):
            program = install_agent(agent, prefix, lambda line: print(line, file=sys.stderr))
            print(f"{agent.name} {agent.version}: {program}", file=sys.stderr)
    except (AgentError, OSError) as error:
        print(f"tools/install-agents: {error}", file=sys.stderr)
        return 1
    print(f'export PATH={shlex.quote(str(prefix / "bin"))}:"$PATH"')
    return 0


def _chosen(names: Sequence[str]) -> list[AgentSpec]:
    if names:
        return [find_agent(name, Path.cwd()) for name in names]
    agents, broken = find_agents(Path.cwd())
    for error in broken:
        raise error
    return [agent for agent in agents if agent.install.npm or agent.install.pip]


if __name__ == "__main__":
    sys.exit(main())
