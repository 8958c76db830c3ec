"""The page's modules as one script: they are written as ECMAScript modules, and a page opened from disk loads none.

Each module becomes a function that returns what it exports; one that imports another is put after it. Imports and
exports keep to two forms, which the package's own files have: `import { a, b } from "./name.js";` in one line, and
`export` before `function`, `async function`, `class` or `const` at the beginning of a line.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_IMPORT = re.compile(r'^import \{ ([\w, ]+) \} from "\./([\w-]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async function|function|class|const) (\w+))", re.MULTILINE)
_OTHER = re.compile(r"^(?:import|export)\b.*", re.MULTILINE)


def link(modules: Mapping[str, str], main: str) -> str:
    """Return one script that runs `main` and the modules it needs; `modules` are texts by name, without `.js`.

    Raises ValueError for a module that is not there, imports in a circle, and other forms of import and export.
    """
    ordered: dict[str, str] = {}
    _visit(main, modules, ordered, ())
    functions = [f"modules.{_identifier(name)} = (() => {{\n{text}}})();\n" for name, text in ordered.items()]
    return '"use strict";\n(() => {\nconst modules = {};\n' + "".join(functions) + "})();\n"


def _visit(name: str, modules: Mapping[str, str], ordered: dict[str, str], above: tuple[str, ...]) -> None:
    if name in ordered:
        return
    if name in above:
        raise ValueError(f"{name}.js imports itself: {' → '.join((*above, name))}")
    if name not in modules:
        raise ValueError(f"{above[-1] if above else 'the page'} imports {name}.js, which is not there")
    text = modules[name]
    for found in _IMPORT.finditer(text):
        _visit(found[2], modules, ordered, (*above, name))
    ordered[name] = _as_function(name, text)


def _as_function(name: str, text: str) -> str:
    exported = [found[1] for found in _EXPORT.finditer(text)]
    body = _EXPORT.sub(
        "", _IMPORT.sub(lambda found: f"const {{ {found[1]} }} = modules.{_identifier(found[2])};\n", text)
    )
    other = _OTHER.search(body)
    if other:
        raise ValueError(f"{name}.js: this form of import or export is not known: {other[0]}")
    return f"{body}return {{ {', '.join(exported)} }};\n"


def _identifier(name: str) -> str:
    return name.replace("-", "_")
