"""`agentcap agents check`: one task of two turns against the scripted model, and what of it worked."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_agentcap.commands.base import Commands
from pytest_agentcap.commands.output import complain, write_json, write_table

if TYPE_CHECKING:
    from pytest_agentcap.agents.spec import AgentSpec
    from pytest_agentcap.commands.findings import Finding

_TURN_S = 300
_MARKS = {True: "ok", False: "FAILED", None: "-"}


def add(commands: Commands) -> None:
    parser = commands.add_parser("check", help="run one task of two turns against the scripted model, say what works")
    parser.add_argument("name", metavar="NAME", help="an agent's name, or another value of --agent")
    parser.add_argument("--sandbox", choices=("podman", "host"), default="podman", help="where it runs")
    parser.add_argument("--json", action="store_true", help="print a JSON object")
    parser.set_defaults(command=_run)


def _run(args: argparse.Namespace) -> int:
    from pytest_agentcap.agents.find import find_agent
    from pytest_agentcap.runs.layout import workspace_folder

    agent = find_agent(args.name, Path.cwd())
    first = "; an image that is not there yet takes minutes" if args.sandbox == "podman" else ""
    complain(f"checking {agent.name} {agent.version} on {args.sandbox}{first}")
    workspace = Path(tempfile.mkdtemp(prefix="agentcap-check-"))
    findings = _findings(args.name, agent, args.sandbox, workspace)
    works = all(finding.works is not False for finding in findings)
    if args.json:
        facts = {"agent": agent.name, "version": agent.version, "sandbox": args.sandbox, "works": works}
        write_json({**facts, "findings": [asdict(finding) for finding in findings]})
    else:
        write_table(["", "STEP", agent.name.upper()], [[_MARKS[each.works], each.step, each.said] for each in findings])
    if works or len(findings) == 1:
        shutil.rmtree(workspace)
    else:
        complain(f"its captures and output are in {workspace_folder(workspace)}")
    return 0 if works else 1


def _findings(name: str, agent: AgentSpec, sandbox: str, workspace: Path) -> list[Finding]:
    from pytest_agentcap.commands.findings import Finding, findings_of
    from pytest_agentcap.runs.layout import find_runs, workspace_folder

    done = _run_corpus(name, sandbox, workspace)
    runs = list(find_runs(workspace_folder(workspace)))
    if not runs:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        said = lines[-1].removeprefix("ERROR: agentcap: ") if lines else f"pytest ended with {done.returncode}"
        return [Finding("sandbox", False, said)]
    there = "its image is built" if sandbox == "podman" else f"{shutil.which(agent.executable)}"
    return [Finding("sandbox", True, there), *findings_of(agent, runs[0])]


def _run_corpus(name: str, sandbox: str, workspace: Path) -> subprocess.CompletedProcess[str]:
    """Run the corpus `check` the way everything is run; what this folder says of pytest is left out of it."""
    from pytest_agentcap.shipped import packaged

    kept = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    ours = ("--agentcap-agent", name, "--agentcap-sandbox", sandbox, "--agentcap-turn-timeout", str(_TURN_S))
    plain = ("-c", os.devnull, "--rootdir", str(Path.cwd()), "--noconftest", "-p", "no:cacheprovider", "-p", "agentcap")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *plain, *ours, str(packaged("corpora") / "check" / "prompts.jsonl")],
        env={**kept, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "AGENTCAP_WORKSPACE": str(workspace)},
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
    )
