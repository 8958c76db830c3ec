from __future__ import annotations

HEAVY = ("pyarrow", "podman", "httpx", "starlette", "uvicorn", "uvloop", "huggingface_hub", "msgspec", "psutil")


def test_an_unrelated_run_imports_nothing_heavy_and_is_not_touched(pytester, project):
    project.write_tasks("say hello", name="tests/data/tasks.txt")
    project.write(
        "tests/test_own.py",
        f"""
        import sys

        def test_own(pytestconfig):
            assert "pytest_agentcap.plugin" in sys.modules
            assert [name for name in {HEAVY!r} if name in sys.modules] == []
            ours = {{name for name in sys.modules if name.startswith("pytest_agentcap.")}}
            assert not ours & {{"pytest_agentcap.controller", "pytest_agentcap.session", "pytest_agentcap.hooks"}}
            assert not pytestconfig.pluginmanager.hasplugin("agentcap-controller")
        """,
    )
    for options in ((), ("-n2",)):
        # A process that begins with nothing imported, as a user's does.
        result = pytester.runpytest_subprocess("-p", "agentcap", "-p", "xdist", *options)
        result.assert_outcomes(passed=1)
        assert result.ret == 0
        result.stdout.no_fnmatch_line("*agentcap:*")
    assert not (project.path / ".agentcap").exists()


def test_the_plugin_is_loaded_by_its_entry_point(pytester, project, monkeypatch):
    monkeypatch.delenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD")
    result = pytester.runpytest_subprocess("--markers", "-p", "no:hypothesispytest")
    result.stdout.fnmatch_lines(["@pytest.mark.corpus(path): *"])


def test_help_lists_every_option_once_under_both_names(project):
    lines = project.pytest("--help").outlines
    for name in ("--agent", "--model", "--upstream", "--sandbox", "--trials"):
        assert len([line for line in lines if line.split("=")[0].strip() == name]) == 1
        assert any(f"--agentcap-{name[2:]}" in line for line in lines)


def test_fixtures_are_listed_without_starting_anything(project):
    result = project.pytest("--fixtures", "--agent", "loop")
    assert result.ret == 0
    for name in ("agent_session", "agent_sandbox", "capture_proxy", "capture_run", "sandbox_options", "grader"):
        result.stdout.fnmatch_lines([f"{name}* -- *fixtures.py*"])
    assert not (project.path / ".agentcap").exists()
