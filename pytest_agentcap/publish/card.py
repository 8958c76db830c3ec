"""The dataset card: what a file tells of itself, summed up; only a marked block of it is ever written again."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import yaml

from pytest_agentcap.publish.columns import COLUMNS
from pytest_agentcap.publish.destination import Destination
from pytest_agentcap.publish.features import dataset_info, with_missing_features
from pytest_agentcap.runs.masking import PLACEHOLDER

BEGIN, END = "<!-- agentcap: begin -->", "<!-- agentcap: end -->"
_BLOCK = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.S)
_HEAD = re.compile(r"\A---\n(.*?)\n---\n", re.S)
_YEAR_10000 = 253_402_300_800
CAPTURES_TAGS = ("agentcap", "agentcap-captures")


class CardError(ValueError):
    """Say why a card that is already there cannot be brought up to date."""


def captures_card(
    before: str | None, place: Destination, files: Mapping[str, Mapping[str, Any]], license_id: str | None
) -> str:
    """Return the card of a captures repository from the summaries of its files, by path.

    What somebody wrote outside of the marked block stays; so does the metadata, which only gets what is missing.
    Raises CardError when the metadata of `before` is no YAML mapping.
    """
    configs = [{"config_name": "default", "data_files": [{"split": "train", "path": "data/*.parquet"}]}]
    title = f"{place.base}: model calls of coding agents"
    metadata = metadata_of(CAPTURES_TAGS, license_id, dataset_info=dataset_info(), configs=configs)
    return put_block(before, title, metadata, _captures_block(place, files))


def traces_card(
    before: str | None, place: Destination, agent: str, forms: Mapping[str, str], license_id: str | None
) -> str:
    """Return the card of an agent's traces repository; `forms` tells each file's format by path."""
    tags = ("agent-traces", "agentcap", "agentcap-traces", f"agentcap-traces-{agent}")
    metadata = metadata_of(tags, license_id, source_datasets=[place.captures])
    return put_block(before, f"{place.base}: sessions of {agent}", metadata, _traces_block(place, agent, forms))


def metadata_of(tags: Sequence[str], license_id: str | None, **more: Any) -> dict[str, Any]:
    """Return a card's metadata; without a licence it names none."""
    return {**({"license": license_id} if license_id else {}), "tags": list(tags), **more}


def put_block(before: str | None, title: str, metadata: Mapping[str, Any], block: str) -> str:
    """Return a card with a block and metadata in it, the rest of `before` kept; raises CardError as `captures_card`."""
    if before is None:
        return f"---\n{_yaml(metadata)}---\n\n# {title}\n\n{block}\n"
    head = _HEAD.match(before)
    try:
        known = yaml.safe_load(head[1]) if head else {}
    except yaml.YAMLError as error:
        raise CardError(f"README.md: its metadata is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(known, dict):
        raise CardError("README.md: its metadata is no YAML mapping")
    tags = known.get("tags") or []
    merged = {**metadata, **known, "tags": [*tags, *(tag for tag in metadata["tags"] if tag not in tags)]}
    if "dataset_info" in metadata:
        merged["dataset_info"] = with_missing_features(merged["dataset_info"])
    text = before[head.end() :] if head else before
    there = _BLOCK.search(text) is not None
    text = _BLOCK.sub(lambda _: block, text, count=1) if there else f"{text.rstrip()}\n\n{block}\n"
    if head and merged == known:
        return before[: head.end()] + text
    return f"---\n{_yaml(merged)}---\n{text if head else chr(10) + text}"


def _yaml(metadata: Mapping[str, Any]) -> str:
    return str(yaml.safe_dump(dict(metadata), sort_keys=False, allow_unicode=True))


def _captures_block(place: Destination, files: Mapping[str, Mapping[str, Any]]) -> str:
    told = list(files.values())
    sections = [
        f"One row is one call that a coding agent made to a model: the request body as the agent sent it, and the "
        f"response as the server streamed it, recorded from the wire by "
        f"[pytest-agentcap](https://github.com/huggingface/pytest-agentcap). {_span(told)}",
        "## What is in it\n\n"
        + table(
            [
                "agent",
                "version",
                "model",
                "provider",
                "tasks",
                "sessions",
                "calls",
                "tokens in",
                "tokens out",
                "verdicts",
            ],
            [_cell(key, group) for key, group in _grouped(told)],
        ),
        "## Tasks\n\n" + table(["corpus", "SHA-256 of the tasks that ran"], _corpora(told)),
        "## How it was made\n\n" + _made(told),
        "## Secrets\n\n" + _secrets(told),
        "## What is not in it\n\n" + _missing(told),
        "## Columns\n\n"
        + table(["column", "type", "meaning"], [[f"`{c.name}`", str(c.type), c.meaning] for c in COLUMNS]),
        f"## Reading it\n\n{_snippets(place)}",
    ]
    return "\n\n".join([BEGIN, *sections, END])


def _grouped(told: Iterable[Mapping[str, Any]]) -> list[tuple[tuple[str, ...], list[Mapping[str, Any]]]]:
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = {}
    for facts in told:
        key = tuple(str(facts.get(name) or "?") for name in ("agent", "agent_version", "model", "provider"))
        groups.setdefault(key, []).append(facts)
    return sorted(groups.items())


def _cell(key: tuple[str, ...], group: Sequence[Mapping[str, Any]]) -> list[str]:
    verdicts: Counter[str] = Counter()
    for facts in group:
        verdicts.update(facts.get("verdicts") or {})
    counts = [_sum(group, name) for name in ("tasks", "sessions", "calls", "prompt_tokens", "completion_tokens")]
    return [*key, *counts, ", ".join(f"{count} {verdict}" for verdict, count in verdicts.most_common()) or "?"]


def _sum(group: Iterable[Mapping[str, Any]], name: str) -> str:
    """Add up what files tell; a figure that one of them does not know is marked, never taken for 0."""
    values = [facts.get(name) for facts in group]
    known = [value for value in values if isinstance(value, int)]
    if not known:
        return "?"
    return f"{sum(known):,}" if len(known) == len(values) else f"≥ {sum(known):,}"


def _corpora(told: Iterable[Mapping[str, Any]]) -> list[list[str]]:
    found = {(corpus, digest) for facts in told for corpus, digest in (facts.get("corpora") or {}).items()}
    return [[corpus, f"`{digest}`"] for corpus, digest in sorted(found)] or [["?", "?"]]


def _span(told: Iterable[Mapping[str, Any]]) -> str:
    times = [time for facts in told for time in facts.get("captured") or [] if 0 <= time < _YEAR_10000]
    if not times:
        return ""
    first, last = (datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d") for time in (min(times), max(times)))
    return f"Recorded on {first}." if first == last else f"Recorded from {first} to {last}."


def _made(told: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"- pytest-agentcap {_values(told, 'agentcap_version')}"]
    lines.append(f"- sandbox: {_values(told, 'sandbox')}; network: {_values(told, 'network')}")
    lines.append(f"- wire APIs: {', '.join(sorted({a for facts in told for a in facts.get('apis') or []})) or '?'}")
    sampling: dict[str, set[str]] = {}
    for facts in told:
        for name, values in (facts.get("sampling") or {}).items():
            sampling.setdefault(name, set()).update(values)
    asked = "; ".join(f"`{name}` {', '.join(sorted(values))}" for name, values in sorted(sampling.items()))
    lines.append(f"- sampling parameters that agents asked for: {asked or 'none, the server chose'}")
    return "\n".join(lines)


def _values(told: Iterable[Mapping[str, Any]], name: str) -> str:
    return ", ".join(sorted({str(facts.get(name) or "?") for facts in told}))


def _secrets(told: Sequence[Mapping[str, Any]]) -> str:
    redacted = sum(facts.get("redacted") or 0 for facts in told)
    placeholders = f"- {redacted:,} value(s) were replaced by placeholders that start with `{PLACEHOLDER}`"
    return "\n".join([*scan_lines([facts.get("scan") for facts in told]), placeholders])


def scan_lines(scans: Sequence[Any]) -> list[str]:
    """Say what scanners found in files; None for a file stands for no scan."""
    known = [scan for scan in scans if isinstance(scan, dict)]
    lines = []
    for scanner, group in _by_scanner(known):
        verified, unverified, replaced = (
            sum(scan.get(name) or 0 for scan in group) for name in ("verified", "unverified", "replaced")
        )
        lines.append(
            f"- {scanner}: {verified} verified, {unverified} unverified findings in {len(group)} file(s)"
            + (f", {replaced} of them replaced" if replaced else "")
        )
    if len(known) < len(scans):
        lines.append(f"- {len(scans) - len(known)} file(s) were published without a scan")
    return lines


def _by_scanner(scans: Iterable[Mapping[str, Any]]) -> list[tuple[str, list[Mapping[str, Any]]]]:
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for scan in scans:
        name = " ".join(str(scan[key]) for key in ("scanner", "version") if scan.get(key))
        groups.setdefault(name, []).append(scan)
    return sorted(groups.items())


def _missing(told: Sequence[Mapping[str, Any]]) -> str:
    return (
        f"- {_sum(told, 'broken_calls')} call(s) broke off; they are there, with `complete` false and the reason in "
        "`error`\n- authorization headers, cookies and keys are never recorded\n- prompts and answers were not checked "
        "for personal data; what models wrote falls under their own terms"
    )


def _snippets(place: Destination) -> str:
    repo = place.captures
    return (
        f'```python\nfrom datasets import load_dataset\n\nrows = load_dataset("{repo}", split="train")\n```\n\n'
        f"```sql\n-- DuckDB\nSELECT agent, count(*) FROM 'hf://datasets/{repo}/data/*.parquet' GROUP BY ALL;\n```\n\n"
        f"```sh\nuvx --from pytest-agentcap agentcap-inspect {repo}\n```"
    )


def _traces_block(place: Destination, agent: str, forms: Mapping[str, str]) -> str:
    counts = Counter(forms.values())
    return "\n\n".join(
        [
            BEGIN,
            f"Sessions of `{agent}`, one file each, under `data/<run id>/`. The calls that they are made of are in "
            f"[{place.captures}](https://huggingface.co/datasets/{place.captures}): join on `run_id`.",
            table(["format", "files"], [[form, f"{count:,}"] for form, count in sorted(counts.items())]),
            END,
        ]
    )


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; cells are escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines)


def _escaped(cell: str) -> str:
    """Keep what comes from captures from becoming Markdown or HTML."""
    return cell.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")
