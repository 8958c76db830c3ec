"""What is said to somebody who names a corpus and no agent."""

from __future__ import annotations

import pytest


def corpora_without_agent(config: pytest.Config) -> list[str]:
    """Return a line for each argument that is a corpus, or a folder that directly holds one."""
    from pytest_agentcap.corpus.reader import is_corpus_name

    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        return []
    lines = []
    for argument in config.args:
        path = config.invocation_params.dir / argument.partition("::")[0]
        named = [path] if path.is_file() else list(path.iterdir()) if path.is_dir() else []
        if any(is_corpus_name(each.name) for each in named):
            lines.append(f"agentcap: {argument} is a corpus: pass --agent NAME to run it")
    return lines
