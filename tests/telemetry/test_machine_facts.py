from __future__ import annotations

from pytest_agentcap.telemetry.machine import machine_facts


def test_the_machine_is_described(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Fast CPU @ 3 GHz\nflags\t: a:b\n")
    facts = machine_facts(tmp_path / "cpuinfo")
    assert facts["cpu"] == "Fast CPU @ 3 GHz"
    assert facts["cpus"] >= 1
    assert facts["memory_bytes"] > 1 << 28
    assert facts["kernel"] in facts["platform"] or facts["kernel"]


def test_a_machine_without_cpuinfo_is_described_as_well(tmp_path):
    assert machine_facts(tmp_path / "none")["memory_bytes"] > 0
