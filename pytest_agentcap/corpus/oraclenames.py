"""Which oracles a task may name: ours, `module:function`, and what AgentGym's users added to its own module."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from pytest_agentcap.corpus.source import CorpusError

ORACLES = frozenset(
    {
        "top_level_entry_count",
        "readme_first_nonempty_line",
        "glob_count",
        "largest_file",
        "repo_token_count",
        "has_license_file",
        "dir_top_entry_count",
        "answer_md_contains",
        "answer_md_kv_matches",
    }
)
_FUNCTION = re.compile(r"[A-Za-z_]\w*|[A-Za-z_][\w.]*:[A-Za-z_]\w*")
# Its users write a function there and register it under its bare name.
_ADDED = Path("evaluator", "oracles.py")


def is_oracle(fn: str) -> bool:
    """Tell whether this is the name of one of ours, or a `module:function`, which is not looked for."""
    return _FUNCTION.fullmatch(fn) is not None and (":" in fn or fn in ORACLES)


def oracle_name(fn: str, root: Path, shown: str) -> str:
    """Return `module:function` for a bare name that the corpus's `evaluator/oracles.py` defines, else the name itself.

    The module is not run; `shown` is what messages call it. Raises CorpusError when it is not Python.
    """
    path = root / _ADDED
    if is_oracle(fn) or not path.is_file():
        return fn
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:
        raise CorpusError(f"{shown}:{getattr(error, 'lineno', 1)}: not Python; correct the file") from None
    added = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    return f"{'.'.join(_ADDED.with_suffix('').parts)}:{fn}" if fn in added else fn
