"""What of a Python program's text runs other programs, writes files, or reaches for the network."""

from __future__ import annotations

import ast
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

_SHELLED = frozenset({"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"})
_STARTED = frozenset({f"subprocess.{name}" for name in ("run", "call", "check_call", "check_output", "Popen")})
_NETWORK = ("urllib.request.", "requests.", "httpx.", "aiohttp.", "http.client.", "socket.create_connection", "ftplib.")
_NETWORK_NAMES = frozenset({"urlopen", "urlretrieve"})
_WRITING_METHODS = frozenset({"write_text", "write_bytes", "unlink", "mkdir", "touch", "rmdir"})
_WRITING_CALLS = frozenset({"os.remove", "os.unlink", "os.mkdir", "os.makedirs", "os.rmdir", "shutil.rmtree"})


@dataclass(frozen=True, slots=True)
class Deeds:
    """Hold shell commands, and paths that are read or written, as far as they stand in the text as constants."""

    commands: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    network: tuple[str, ...] = ()


def deeds(code: str) -> Deeds | None:
    """Read a program's text; None when it is no Python."""
    try:
        tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    aliases = dict(_aliases(tree))
    commands: list[str] = []
    reads: list[str] = []
    writes: list[str] = []
    network: list[str] = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name = _name(call.func, aliases)
        first = call.args[0] if call.args else None
        if name in _SHELLED | _STARTED:
            commands += _command(first)
        elif name.startswith(_NETWORK) or name in _NETWORK_NAMES:
            network.append(name)
        elif name in ("open", "io.open"):
            (writes if _opened_to_write(call) else reads).extend(_constant(first))
        elif name in _WRITING_CALLS:
            writes += _constant(first)
        elif isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Call):
            made = call.func.value
            if _name(made.func, aliases).split(".")[-1] == "Path" and made.args:
                (writes if call.func.attr in _WRITING_METHODS else reads).extend(_constant(made.args[0]))
    return Deeds(tuple(commands), tuple(reads), tuple(writes), tuple(network))


def _aliases(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((each.asname, each.name) for each in node.names if each.asname)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((each.asname or each.name, f"{node.module}.{each.name}") for each in node.names)


def _name(node: ast.expr, aliases: dict[str, str]) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([aliases.get(node.id, node.id), *reversed(parts)])


def _command(node: ast.expr | None) -> list[str]:
    if isinstance(node, ast.List | ast.Tuple):
        words = [text for item in node.elts for text in _constant(item)]
        return [shlex.join(words)] if words else []
    return _constant(node)


def _constant(node: ast.expr | None) -> list[str]:
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def _opened_to_write(call: ast.Call) -> bool:
    modes = [*call.args[1:2], *(word.value for word in call.keywords if word.arg == "mode")]
    return any(set(text) & set("wax+") for mode in modes for text in _constant(mode))
