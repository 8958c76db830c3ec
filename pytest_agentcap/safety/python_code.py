"""What of a Python program's text runs other programs, writes files, or reaches for the network."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

_SHELLED = frozenset({"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"})
_STARTED = frozenset({f"subprocess.{name}" for name in ("run", "call", "check_call", "check_output", "Popen")})
_STARTED |= {"asyncio.create_subprocess_shell", "asyncio.create_subprocess_exec", "pty.spawn", "os.posix_spawn"}
# They become or start a program, and have its words as arguments or as a list.
_EXECUTED = re.compile(r"os\.(?:exec|spawn)[lv]p?e?")
_NETWORK = (
    *("urllib.request.", "urllib3.", "requests.", "httpx.", "aiohttp.", "http.client.", "ftplib.", "smtplib."),
    *("paramiko.", "websockets.", "socket.create_connection", "socket.getaddrinfo", "socket.gethostby"),
    *("asyncio.open_connection", "huggingface_hub."),
)
_NETWORK_NAMES = frozenset({"urlopen", "urlretrieve"})
_WRITING_METHODS = frozenset({"write_text", "write_bytes", "unlink", "mkdir", "touch", "rmdir"})
_READING_METHODS = frozenset({"read_text", "read_bytes", "iterdir", "glob", "rglob"})
_WRITING_CALLS = frozenset({"os.remove", "os.unlink", "os.mkdir", "os.makedirs", "os.rmdir", "shutil.rmtree"})
_MOVING_CALLS = frozenset({"os.rename", "os.replace", "os.symlink", "os.link", "shutil.move"})
_COPYING_CALLS = frozenset({f"shutil.{name}" for name in ("copy", "copy2", "copyfile", "copytree")})
_DEEPEST = 8


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
        reader = _Reader(dict(_aliases(tree)))
        reader.read(tree)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    return Deeds(tuple(reader.commands), tuple(reader.reads), tuple(reader.writes), tuple(reader.network))


@dataclass(slots=True)
class _Reader:
    aliases: Mapping[str, str]
    commands: list[str] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    network: list[str] = field(default_factory=list)
    # Names that stand for one constant or path, as far as the text tells.
    values: dict[str, ast.expr] = field(default_factory=dict)

    def read(self, tree: ast.AST) -> None:
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
                self.values[node.targets[0].id] = node.value
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                self._call(node)

    def _call(self, call: ast.Call) -> None:
        name = _name(call.func, self.aliases)
        given = [*call.args, *(word.value for word in call.keywords if word.arg in ("args", "cmd", "command", "file"))]
        first = given[0] if given else None
        if name in _SHELLED | _STARTED:
            self.commands += self._command(given if name.endswith("_exec") else first)
        elif _EXECUTED.fullmatch(name):
            self.commands += self._executed(name, call.args)
        elif name.startswith(_NETWORK) or name in _NETWORK_NAMES or _connects(call):
            self.network.append(name or "socket.connect")
        elif name in ("open", "io.open"):
            (self.writes if _opened_to_write(call) else self.reads).extend(self._path(first))
        elif name in _WRITING_CALLS | _MOVING_CALLS | _COPYING_CALLS:
            moved = call.args[0 if name in _MOVING_CALLS else 1 :] if name not in _WRITING_CALLS else call.args[:1]
            self.writes += [path for node in moved[:2] for path in self._path(node)]
        elif isinstance(call.func, ast.Attribute) and call.func.attr in _WRITING_METHODS | _READING_METHODS | {"open"}:
            writes = call.func.attr in _WRITING_METHODS or (call.func.attr == "open" and _opened_to_write(call, 0))
            (self.writes if writes else self.reads).extend(self._path(call.func.value, made=True))

    def _command(self, node: ast.expr | list[ast.expr] | None) -> list[str]:
        if isinstance(node, ast.Name):
            node = self.values.get(node.id)
        if isinstance(node, ast.List | ast.Tuple):
            node = node.elts
        if isinstance(node, list):
            words = [text for item in node for text in self._path(item)]
            return [shlex.join(words)] if words else []
        return _constant(node)

    def _executed(self, name: str, args: list[ast.expr]) -> list[str]:
        rest = args[1:] if name.startswith("os.spawn") else args
        return self._command(rest[1]) if "v" in name.split(".")[1][4:] and len(rest) > 1 else self._command(rest[1:])

    def _path(self, node: ast.expr | None, made: bool = False, depth: int = 0) -> list[str]:
        """Return the path that an expression stands for; with `made` only one that is an object, and no text."""
        if depth > _DEEPEST or node is None:
            return []
        if isinstance(node, ast.Name) and node.id in self.values:
            return self._path(self.values[node.id], made, depth + 1)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            parts = [self._path(node.left, True, depth + 1), self._path(node.right, False, depth + 1)]
            return ["/".join(part[0] for part in parts)] if all(parts) else []
        if isinstance(node, ast.Call):
            name = _name(node.func, self.aliases)
            if name.split(".")[-1] == "Path" or name == "os.path.join":
                told = [self._path(each, False, depth + 1) for each in node.args]
                return ["/".join(each[0] for each in told)] if told and all(told) else []
            return []
        return [] if made else _constant(node)


def _aliases(tree: ast.AST) -> Iterator[tuple[str, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((each.asname, each.name) for each in node.names if each.asname)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from ((each.asname or each.name, f"{node.module}.{each.name}") for each in node.names)


def _name(node: ast.expr, aliases: Mapping[str, str]) -> str:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if isinstance(node, ast.Call) and _name(node.func, aliases) in ("__import__", "importlib.import_module"):
        return ".".join([*_constant(node.args[0] if node.args else None), *reversed(parts)])
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([aliases.get(node.id, node.id), *reversed(parts)])


def _connects(call: ast.Call) -> bool:
    """Tell whether a call is a socket's that names a host and a port."""
    named = isinstance(call.func, ast.Attribute) and call.func.attr in ("connect", "connect_ex")
    return named and bool(call.args) and isinstance(call.args[0], ast.Tuple) and len(call.args[0].elts) == 2


def _constant(node: ast.expr | None) -> list[str]:
    return [node.value] if isinstance(node, ast.Constant) and isinstance(node.value, str) else []


def _opened_to_write(call: ast.Call, place: int = 1) -> bool:
    modes = [*call.args[place : place + 1], *(word.value for word in call.keywords if word.arg == "mode")]
    return any(set(text) & set("wax+") for mode in modes for text in _constant(mode))
