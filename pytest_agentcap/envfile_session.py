"""`.env` for a pytest session: read before it begins, told in its header, forgotten at its end."""

from __future__ import annotations

import pytest

from pytest_agentcap.envfile import EnvFile, EnvFileError, load_env_file

ENV_FILE: pytest.StashKey[EnvFile] = pytest.StashKey()


def read_for_session(config: pytest.Config) -> None:
    """Put what `.env` holds into the environment until the session ends: the current directory's, else the rootdir's.

    Workers have it from their controller. Raises pytest.UsageError.
    """
    try:
        file = load_env_file(config.invocation_params.dir, config.rootpath)
    except EnvFileError as error:
        raise pytest.UsageError(str(error)) from error
    if file is not None:
        config.stash[ENV_FILE] = file
        config.add_cleanup(file.forget)


def env_file_lines(config: pytest.Config) -> list[str]:
    """Return what the session's header says of it."""
    file = config.stash.get(ENV_FILE, None)
    return [f"agentcap: {file.told}"] if file else []
