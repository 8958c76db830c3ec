from __future__ import annotations


def test_what_the_infrastructure_broke_is_tried_again_as_a_higher_attempt(project):
    project.write(
        "test_own.py",
        """
        import pytest
        from pytest_agentcap import retrying
        from pytest_agentcap.sandbox.base import SandboxError

        retrying.FIRST_PAUSE_S = 0.01

        @pytest.fixture
        def agent_sandbox(agent_sandbox, request):
            times = request.config.stash.setdefault(TRIED, {})
            class Breaking:
                def prepare(self, progress):
                    times[request.node.name] = times.get(request.node.name, 0) + 1
                    if times[request.node.name] <= request.node.get_closest_marker("breaks").args[0]:
                        raise SandboxError("the container is gone")
                    agent_sandbox.prepare(progress)
                def start(self, *given):
                    return agent_sandbox.start(*given)
            return Breaking()

        TRIED = pytest.StashKey()

        @pytest.mark.breaks(2)
        def test_mended(agent_session):
            agent_session.run("Say hello").check()

        @pytest.mark.breaks(9)
        def test_broken(agent_session):
            agent_session.run("Say hello").check()

        @pytest.mark.breaks(0)
        def test_failing(agent_session):
            agent_session.run("Say hello").check()
            assert False
        """,
    )
    project.write("pytest.ini", "[pytest]\nmarkers = breaks: how often\n")
    result = project.capture("--retry-infra", "2", "--junitxml", "report.xml")
    result.assert_outcomes(passed=1, failed=2)
    found = {each["session"]: each["verdict"] for each in project.results()}
    assert found == {
        "test_mended": "infra",
        "test_mended-a2": "infra",
        "test_mended-a3": "captured",
        "test_broken": "infra",
        "test_broken-a2": "infra",
        "test_broken-a3": "infra",
        "test_failing": "captured",
    }
    result.stdout.fnmatch_lines(["kept, not counted above: 4 earlier attempts"])
    assert '<property name="attempt" value="3"' in (project.path / "report.xml").read_text()
