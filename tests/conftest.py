"""What tests share: the parts of a full system that some of them need."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable

import pytest

Need = Callable[[str], None]


@pytest.fixture(scope="session")
def need() -> Need:
    """Skip a test whose program is not installed; with AGENTCAP_REQUIRE=1 that is a failure."""

    def check(program: str) -> None:
        if shutil.which(program) is None:
            missing = f"{program} is not installed: run ./tools/install-system"
            if os.environ.get("AGENTCAP_REQUIRE") == "1":
                pytest.fail(missing, pytrace=False)
            pytest.skip(missing)

    return check
