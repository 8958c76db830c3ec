"""`agentcap plot`: which figures there are, and what they say of themselves."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pytest_agentcap.cli import main
from pytest_agentcap.tracestats.plots import PLANS, tool_mix
from pytest_agentcap.tracestats.rows import read_row


def test_every_figure_is_drawn_as_png_and_svg(run, capsys):
    assert main(["plot", "shop-run"]) == 0
    names = [*PLANS, "timeline_01_buy"]
    assert {path.name for path in Path("figures").iterdir()} == {f"{n}.{s}" for n in names for s in ("png", "svg")}
    assert capsys.readouterr().out.split() == [
        f"figures/{name}.{suffix}" for name in names for suffix in ("png", "svg")
    ]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in Path("figures").glob("*.png"))


def test_figures_name_units_counts_and_source(run):
    assert main(["plot", "shop-run", "--timelines", "0"]) == 0
    text = {path.stem: path.read_text() for path in Path("figures").glob("*.svg")}
    assert set(text) == set(PLANS)
    assert all("source: shop-run" in each and "n = " in each for each in text.values())
    units = {
        "tool_durations": "duration (s)", "cpu_and_wall": "user and system (s)", "peak_memory": "(MiB)",
        "time_shares": "(%)", "tool_mix": "tool calls", "tokens_and_turns": "tokens of a session",
    }  # fmt: skip
    assert all(unit in text[name] for name, unit in units.items())
    assert "n = 1 tool calls" in text["cpu_and_wall"]


def test_figures_are_grey(run):
    import matplotlib.image

    assert main(["plot", "shop-run"]) == 0
    for path in Path("figures").glob("*.png"):
        pixels = matplotlib.image.imread(path)
        assert (pixels[..., 0] == pixels[..., 1]).all()
        assert (pixels[..., 1] == pixels[..., 2]).all()


def test_the_same_data_gives_the_same_files(run):
    for folder in ("one", "two"):
        assert main(["plot", "shop-run", "--outdir", folder]) == 0
    one, two = ({path.name: path.read_bytes() for path in Path(each).iterdir()} for each in ("one", "two"))
    assert one == two


def test_what_is_not_known_is_not_drawn_and_named(workspace, foreign, capsys):
    foreign["spans"][0]["tool_name"] = "$x_{"
    del foreign["spans"][0]["telemetry"], foreign["llm_steps"][0]["input_tokens"], foreign["total_duration_ms"]
    Path("rows.jsonl").write_text(json.dumps(foreign))
    assert main(["plot", "rows.jsonl"]) == 0
    assert {path.stem for path in Path("figures").iterdir()} == {"tool_durations", "tool_mix"}
    said = capsys.readouterr().out.splitlines()
    assert [line.partition(":")[0] for line in said[-4:]] == [
        *("cpu_and_wall", "peak_memory", "time_shares", "tokens_and_turns"),
    ]


def test_high_water_marks_stand_apart(workspace, foreign):
    Path("rows.jsonl").write_text(json.dumps(foreign))
    assert main(["plot", "rows.jsonl"]) == 0
    assert "highest so far (AgentTrace) (n = 1)" in Path("figures/peak_memory.svg").read_text()


def test_tools_beyond_the_sixth_share_a_bar(foreign):
    span = foreign["spans"][0]
    foreign["spans"] = [{**span, "tool_name": f"t{number}"} for number in range(9)]
    plot = tool_mix([read_row(foreign, "f")])
    assert plot
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    plot.draw(axes)
    assert [text.get_text() for text in axes.get_yticklabels()] == [*(f"t{n}" for n in range(6)), "other tools"]


def test_without_matplotlib_one_line_says_what_to_install(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["plot", "shop-run"]) == 2
    told = capsys.readouterr().err
    assert "pip install 'pytest-agentcap[plots]'" in told
    assert told.count("\n") == 1
    assert not Path("figures").exists()
