from __future__ import annotations

import pytest

from pytest_agentcap.view.page import page_script, page_styles
from pytest_agentcap.view.scripts import link


def test_modules_come_behind_those_they_import():
    linked = link(
        {
            "main": 'import { b } from "./b-side.js";\nb();\n',
            "b-side": 'import { a } from "./a.js";\nexport function b() {\n  return a;\n}\n',
            "a": "export const a = 1;\n",
            "unused": "export const never = 1;\n",
        },
        "main",
    )
    assert linked.index("modules.a =") < linked.index("modules.b_side =") < linked.index("modules.main =")
    assert "const { a } = modules.a;" in linked
    assert "return { b };" in linked
    assert "never" not in linked
    assert "import " not in linked
    assert "export " not in linked


@pytest.mark.parametrize(
    ("modules", "told"),
    [
        ({"main": 'import { a } from "./a.js";\n'}, "main imports a.js, which is not there"),
        ({"main": 'import { a } from "./main.js";\n'}, "main → main"),
        ({"main": 'import * as a from "./a.js";\n'}, "not known: import \\* as a"),
        ({"main": "export default 1;\n"}, "not known: export default 1"),
    ],
)
def test_what_cannot_be_linked_is_told(modules, told):
    with pytest.raises(ValueError, match=told):
        link(modules, "main")


def test_the_page_has_nothing_that_makes_markup_or_asks_the_network():
    script = page_script()
    forbidden = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "eval(", "Function(")
    assert [
        word for word in (*forbidden, "fetch(", "XMLHttpRequest", "WebSocket", "import(") if word in code(script)
    ] == []
    assert "</script" not in script
    assert "<!--" not in script
    assert "</style" not in page_styles()
    assert "url(" not in page_styles()


def code(script: str) -> str:
    """Return a script without the lines that are comments, whose types are told by `import(…)`."""
    return "\n".join(line for line in script.splitlines() if not line.lstrip().startswith(("*", "/*", "//"))).replace(
        '/** @type {import("./types.js")', ""
    )
