"""How a corpus is spread over its categories, and over what should pass and what should not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import UNSET

from pytest_agentcap.analysis.texts import plain
from pytest_agentcap.formats.eval_rows import PromptCase
from pytest_agentcap.formats.report_rows import BalanceAnalysis, CategoryCount, Polarity, PolarityGap

POLARITIES = ("positive", "negative", "edge")
_POLARITY = "polarity"
_NONE = "(uncategorized)"
_FEW_CASES, _SMALL_SET, _HALF = 3, 20, 50


def analyze_balance(prompts: Sequence[PromptCase], key: str, threshold: float) -> BalanceAnalysis:
    """Count prompts by `metadata[key]`.

    A category is underrepresented below `threshold` per cent of an even share. Percentages are rounded half up.
    """
    total = len(prompts)
    counts = Counter(_category(prompt, key) for prompt in prompts)
    categories = [
        CategoryCount(name, count, (200 * count + total) // (2 * total)) for name, count in counts.most_common()
    ]
    even = 100 / len(categories) if categories else 0.0
    under = [category.name for category in categories if category.percentage < even * threshold / 100]
    polarity = _polarity(prompts, key)
    found = [*_suggestions(categories, under, total), *_polarity_suggestions(polarity)]
    return BalanceAnalysis(
        total, categories, under, found or ["Test set appears well-balanced"], polarity if polarity else UNSET
    )


def _metadata(prompt: PromptCase) -> Mapping[str, Any]:
    return prompt.metadata if isinstance(prompt.metadata, dict) else {}


def _category(prompt: PromptCase, key: str) -> str:
    metadata = _metadata(prompt)
    return plain(metadata[key]) if key in metadata else _NONE


def _suggestions(categories: Sequence[CategoryCount], under: Sequence[str], total: int) -> Iterator[str]:
    if under:
        yield f"Consider adding more test cases for: {', '.join(under)}"
    largest = next((category for category in categories if category.percentage > _HALF), None)
    if largest:
        yield f"Category '{largest.name}' has {largest.percentage}% of cases - consider diversifying"
    few = [category.name for category in categories if category.count < _FEW_CASES]
    if few:
        yield f"Categories with < {_FEW_CASES} cases may not be reliable: {', '.join(few)}"
    if total < _SMALL_SET:
        yield f"Consider expanding test set (currently {total} cases) for more statistical significance"


def _polarity(prompts: Sequence[PromptCase], key: str) -> Polarity | None:
    told = [(_category(prompt, key), _metadata(prompt).get(_POLARITY)) for prompt in prompts]
    known = [(category, polarity) for category, polarity in told if polarity in POLARITIES]
    if not known:
        return None
    names = list(dict.fromkeys(category for category, _ in told))
    gaps = [
        PolarityGap(name, missing) for name in names if (missing := [p for p in POLARITIES if (name, p) not in known])
    ]
    counts = Counter(polarity for _, polarity in known)
    return Polarity({name: counts[name] for name in POLARITIES}, len(told) - len(known), gaps)


def _polarity_suggestions(polarity: Polarity | None) -> Iterator[str]:
    if polarity is None:
        return
    missing = [name for name, count in polarity.counts.items() if not count]
    if missing:
        yield f"No case is {' or '.join(missing)}: add some, or a grader that always says the same passes"
    for gap in polarity.gaps:
        lacking = [name for name in gap.missing if name not in missing]
        if lacking:
            yield f"Category '{gap.category}' has no {' and no '.join(lacking)} case"


def balance_text(analysis: BalanceAnalysis, key: str) -> str:
    """Write an analysis for a terminal: a bar for each category, then what is missing."""
    lines = [f"Analyzing {analysis.total_cases} prompts by '{key}' metadata...", "", "Category Distribution:"]
    for category in analysis.categories:
        bar = "█" * ((category.percentage + 2) // 5)
        lines.append(f"  {category.name}: {category.count} ({category.percentage}%) {bar}")
    if isinstance(analysis.polarity, Polarity):
        counts = ", ".join(f"{name} {count}" for name, count in analysis.polarity.counts.items())
        lines += ["", f"Polarity: {counts}, unlabelled {analysis.polarity.unlabelled}"]
    if analysis.underrepresented:
        lines += ["", f"Underrepresented: {', '.join(analysis.underrepresented)}"]
    return "\n".join([*lines, "", "Suggestions:", *(f"  - {each}" for each in analysis.suggestions)])
