"""What is said to somebody who names a corpus and no agent."""

from __future__ import annotations

import pytest


def corpora_without_agent(config: pytest.Config) -> list[str]:
    """Return a line for each argument that is a corpus, or a folder that directly holds one."""
    from pytest_agentcap.corpus.reader import corpus_files, is_corpus_file

    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        return []
    lines = []
    for argument in config.args:
        path = config.invocation_params.dir / argument.partition("::")[0]
        if is_corpus_file(path) if path.is_file() else corpus_files(path):
            lines.append(f"agentcap: {argument} is a corpus: pass --agent NAME to run it")
    return lines
