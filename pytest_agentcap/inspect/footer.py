"""What a captures parquet tells of itself without a look at its rows."""

from __future__ import annotations

from dataclasses import dataclass

from pytest_agentcap.conversation.files import CapturesFile
from pytest_agentcap.conversation.values import as_objects, as_text, parse


@dataclass(frozen=True, slots=True)
class Footer:
    """Hold a file's footer; what it does not tell is None. `fault` tells why it could not be read."""

    agent: str | None = None
    model: str | None = None
    run_id: str | None = None
    tasks: int | None = None
    calls: int | None = None
    row_groups: int | None = None
    prompts: tuple[str, ...] = ()
    fault: str | None = None


def read_footer(file: CapturesFile) -> Footer:
    """Read a file's footer, and nothing else of it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with file.open() as opened:
            metadata = pq.read_metadata(opened)
    except (pa.ArrowException, OSError, *file.raises) as error:
        return Footer(fault=str(error) or type(error).__name__)
    told = {key.decode("utf-8", "replace"): value for key, value in (metadata.metadata or {}).items()}
    agent, model, run_id = (
        told[key].decode("utf-8", "replace") if key in told else None for key in ("agent", "model", "run_id")
    )
    tasks = as_objects(parse(told["tasks"])) if "tasks" in told else None
    prompts = tuple(as_text(task.get("prompt")) or "" for task in tasks or ())
    count = None if tasks is None else len(tasks)
    return Footer(agent, model, run_id, count, metadata.num_rows, metadata.num_row_groups, prompts)
