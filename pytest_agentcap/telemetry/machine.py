"""The machine that a run was made on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

import psutil

_CPUINFO = Path("/proc/cpuinfo")


def machine_facts(cpuinfo: Path = _CPUINFO) -> dict[str, Any]:
    """Return platform, kernel, CPU model, number of CPUs and memory in bytes; what is not told is None."""
    return {
        "platform": platform.platform(),
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "cpu": _cpu_model(cpuinfo) or platform.processor() or None,
        "cpus": os.cpu_count(),
        "memory_bytes": psutil.virtual_memory().total,
    }


def _cpu_model(cpuinfo: Path) -> str | None:
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        return None
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == "model name"), None)
