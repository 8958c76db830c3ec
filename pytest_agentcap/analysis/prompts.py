"""The prompts of a corpus as rows, without running them."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import UNSET
from msgspec.structs import replace

from pytest_agentcap.analysis.sources import read_records_of
from pytest_agentcap.formats.eval_files import Record, check_unique
from pytest_agentcap.formats.eval_rows import PromptCase

_KEYS = frozenset(PromptCase.__struct_encode_fields__)


def read_prompts(target: str, tell: Callable[[str], None]) -> list[PromptCase]:
    """Read a JSONL corpus, or standard input for `-`; `expected` becomes `hint`, and unknown keys are left out.

    Of either `tell` is given one line. Raises ResultsError for a line that is wrong, and for an id that stands twice.
    """
    records = read_records_of(target)
    prompts = [_known(record).to(PromptCase) for record in records]
    check_unique(records)
    unknown = next((record for record in records if record.value.keys() - _KEYS), None)
    if unknown:
        keys = ", ".join(sorted(unknown.value.keys() - _KEYS))
        tell(f"{unknown.place}: keys that nobody reads: {keys}; `metadata` can hold them")
    old = next((record for record, prompt in zip(records, prompts, strict=True) if prompt.expected is not UNSET), None)
    if old:
        tell(f"{old.place}: the key `expected` is deprecated; rename it to `hint`")
    return [_renamed(prompt) for prompt in prompts]


def _known(record: Record) -> Record:
    return Record(record.place, {key: value for key, value in record.value.items() if key in _KEYS})


def _renamed(prompt: PromptCase) -> PromptCase:
    if prompt.expected is UNSET:
        return prompt
    return replace(prompt, hint=prompt.expected if prompt.hint is UNSET else prompt.hint, expected=UNSET)
