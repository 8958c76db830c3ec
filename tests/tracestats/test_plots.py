"""`agentcap plot`: which figures there are, and what they say of themselves."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from pytest_agentcap.cli import main
from pytest_agentcap.tracestats.canvas import save
from pytest_agentcap.tracestats.plots import PLANS, peak_memory, tokens_and_steps, tool_mix
from pytest_agentcap.tracestats.rows import read_row


@pytest.fixture
def figures(run, capsys) -> dict[str, Path]:
    """All figures of a run, by their files' names."""
    assert main(["plot", "shop-run"]) == 0
    drawn = {path.name: path for path in Path("figures").iterdir()}
    assert set(capsys.readouterr().out.split()) == {str(path) for path in drawn.values()}
    return drawn


def test_every_figure_is_a_png_and_an_svg_in_grey_that_name_units_counts_and_source(figures):
    import matplotlib.image

    names = {*PLANS, "timeline_01_buy"}
    assert set(figures) == {f"{name}.{suffix}" for name in names for suffix in ("png", "svg")}
    for name in names:
        pixels = matplotlib.image.imread(figures[f"{name}.png"])
        assert (pixels[..., 0] == pixels[..., 1]).all()
        assert (pixels[..., 1] == pixels[..., 2]).all()
    text = {name: figures[f"{name}.svg"].read_text() for name in names}
    assert all("source: shop-run" in each and "n = " in each for each in text.values())
    units = {
        "tool_durations": "duration (s)", "cpu_and_wall": "user and system (s)", "peak_memory": "(MiB)",
        "time_shares": "(%)", "tool_mix": "tool calls", "tokens_and_turns": "tokens of a session",
        "timeline_01_buy": "since the first request (s)",
    }  # fmt: skip
    assert all(unit in text[name] for name, unit in units.items())
    assert "n = 1 tool calls" in text["cpu_and_wall"]


def test_the_same_data_gives_the_same_files(foreign, tmp_path):
    plot = peak_memory([read_row(foreign, "f")])
    assert plot
    one, two = ([path.read_bytes() for path in save(plot, "f", tmp_path / name)] for name in ("one", "two"))
    assert one == two
    assert b"highest so far (AgentTrace) (n = 1)" in one[1]


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


def test_tools_beyond_the_sixth_share_a_bar(foreign):
    span = foreign["spans"][0]
    foreign["spans"] = [{**span, "tool_name": f"t{number}"} for number in range(9)]
    plot = tool_mix([read_row(foreign, "f")])
    assert plot
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    plot.draw(axes)
    assert [text.get_text() for text in axes.get_yticklabels()] == [*(f"t{n}" for n in range(6)), "other tools"]


def test_models_beyond_the_sixth_share_a_mark(foreign):
    traces = [read_row({**foreign, "model": f"m{number}"}, "f") for number in range(9)]
    plot = tokens_and_steps(traces)
    assert plot
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    plot.draw(axes)
    labels = axes.get_legend_handles_labels()[1]
    assert len(labels) == 14
    assert labels[-1] == "output, other models (n = 3)"


def test_without_matplotlib_one_line_says_what_to_install(run, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["plot", "shop-run"]) == 2
    told = capsys.readouterr().err
    assert "pip install 'pytest-agentcap[plots]'" in told
    assert told.count("\n") == 1
    assert not Path("figures").exists()
