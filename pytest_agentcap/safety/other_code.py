"""What programs in perl, ruby, awk, JavaScript and the like run by a constant, as far as their text tells."""

from __future__ import annotations

import re

INTERPRETERS = frozenset(
    {"perl", "ruby", "node", "nodejs", "bun", "deno", "php", "lua", "awk", "gawk", "mawk", "tclsh"}
)
# Options behind which the program stands.
_CODE = re.compile(r"-[a-zA-Z]*[eErp]|--eval|--print|-p")
_CALL = re.compile(
    # JavaScript's regular expressions have an `exec`, too.
    r"""(?:(?<!\.)\bexec|\b(?:child_process['"]?\)?|cp)\.exec"""
    r"""|\b(?:system|execSync|execFile|execFileSync|spawn|spawnSync|popen|shell_exec|passthru|qx))\b"""
    r"""\s*[({\[]?\s*(['"])((?:\\.|(?!\1).){0,2000})\1((?:\s*,\s*\[?\s*(['"])(?:\\.|(?!\4).){0,2000}\4\]?){0,50})""",
    re.DOTALL,
)
_MORE = re.compile(r"""(['"])((?:\\.|(?!\1).)*)\1""", re.DOTALL)
_BACKTICKS = re.compile(r"`([^`$]{1,2000})`")
_NETWORK = re.compile(r"""\b(?:fetch|LWP::\w+|Net::HTTP|IO::Socket|require\(['"]https?['"]\)|file_get_contents)\b""")
_ADDRESS = re.compile(r"https?://")


def programs(name: str, texts: list[str]) -> list[str]:
    """Return the programs that an interpreter is given on its command line."""
    if name in ("awk", "gawk", "mawk"):
        return [text for text in texts if "{" in text][:1]
    return [texts[number + 1] for number, text in enumerate(texts[:-1]) if _CODE.fullmatch(text)]


def commands(code: str) -> list[str]:
    """Return the shell commands that a program's text runs."""
    found = []
    for call in _CALL.finditer(code):
        words = [call[2], *(more[1] for more in _MORE.findall(call[3]))]
        found.append(" ".join(word.replace("\\", "") for word in words))
    return found + _BACKTICKS.findall(code)


def reaches_for_network(code: str) -> bool:
    """Tell whether a program's text asks for an address."""
    return _NETWORK.search(code) is not None and _ADDRESS.search(code) is not None
