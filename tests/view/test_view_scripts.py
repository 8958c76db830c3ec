from __future__ import annotations

import re
from pathlib import Path

import pytest

from pytest_agentcap.view import page
from pytest_agentcap.view.page import page_script, page_styles
from pytest_agentcap.view.scripts import link

ASSETS = Path(page.__file__).parent / "assets"


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


def test_every_file_of_the_front_end_is_in_the_page():
    script, styles = page_script(), page_styles()
    for path in ASSETS.iterdir():
        if path.suffix == ".css":
            assert path.read_text("utf-8") in styles
        elif path.stem != "types":
            assert f"modules.{path.stem} = " in script


@pytest.mark.parametrize("theme", [0, 1, 2])
def test_colours_of_text_stand_out_from_what_is_below_them(theme):
    blocks = re.findall(r":root[^{]*\{([^}]*)\}", (ASSETS / "base.css").read_text("utf-8"))
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", blocks[theme]))
    grounds = ["ground", "raised", "sunken", "accent-ground"]
    pairs = [(text, ground) for text in ("text", "quiet") for ground in (*grounds, "good-ground", "bad-ground", "mark")]
    pairs += [("accent", "ground"), ("bad", "ground"), *((name, f"{name}-ground") for name in ("good", "bad", "warn"))]
    pairs.remove(("quiet", "mark"))
    assert [pair for pair in pairs if contrast(*(colours[name] for name in pair)) < 4.5] == []
    # What is drawn and not read needs less.
    drawn = [(name, "ground") for name in ("model", "tool", "idle", "used")]
    assert [pair for pair in drawn if contrast(*(colours[name] for name in pair)) < 3] == []


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colours as WCAG 2.2 defines it."""
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def code(script: str) -> str:
    """Return a script without the lines that are comments, whose types are told by `import(…)`."""
    return "\n".join(line for line in script.splitlines() if not line.lstrip().startswith(("*", "/*", "//"))).replace(
        '/** @type {import("./types.js")', ""
    )
