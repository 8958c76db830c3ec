"""What the options say of a replay, and what does not fit."""

from __future__ import annotations

import pytest

from pytest_agentcap.credentials import key_of
from pytest_agentcap.fixtures import SETTINGS
from pytest_agentcap.options import OPTIONS
from pytest_agentcap.preflight import PreflightError, check_push, check_upstream
from pytest_agentcap.replay.settings import ReplaySettings, replayed_source
from pytest_agentcap.runs.provider import provider_of
from pytest_agentcap.settings import Settings

UNSET = {option.name: None for option in OPTIONS}


def settings_of(**given: object) -> ReplaySettings:
    return ReplaySettings.of(UNSET | {name.replace("_", "-"): value for name, value in given.items()}, replays=True)


def test_a_replay_is_strict_and_at_once_unless_somebody_says_otherwise():
    assert settings_of() == ReplaySettings("strict", None, False, (), None)
    assert settings_of(replay_speed="real").real_pace


def test_a_fork_is_a_replay_of_a_prefix():
    assert settings_of(fork_at=3, replay_upstream="http://h").mode == "prefix"


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ({"replay": "prefix"}, "--replay prefix needs the server that answers what was not recorded: pass --replay-up"),
        ({"replay": "fallthrough"}, "--replay fallthrough needs the server"),
        ({"fork_at": 2}, "--fork-at needs the server"),
        ({"fork_at": 2, "replay": "strict"}, "--fork-at goes with --replay prefix, not with strict"),
        ({"replay_upstream": "http://h"}, "--replay-upstream is for --replay fallthrough or prefix"),
        ({"followup": "synthesized"}, "--followup synthesized asks a model"),
    ],
)
def test_options_that_do_not_fit_are_named(given, line):
    with pytest.raises(ValueError, match=line):
        settings_of(**given)


def test_options_of_a_replay_in_an_ini_file_do_not_break_runs_that_replay_nothing():
    assert ReplaySettings.of(UNSET | {"replay": "prefix"}, replays=False).mode == "prefix"


def parsed(pytester: pytest.Pytester, *args: str) -> Settings:
    return pytester.parseconfigure("-p", "agentcap", "--agent", "loop", *args).stash[SETTINGS]


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--upstream", "replay:nothing"], "replay:nothing: no run, no file, and neither"),
        (["--upstream", "replay:hf://datasets/a/b"], "pass --model ID, the model that it was recorded with"),
        (["--upstream", "replay:"], "'replay:' is no upstream"),
        (["--replay-ignore", "("], "'\\(' is no regular expression"),
        (["--replay-upstream", "scripted"], "'scripted' is no URL of a model server"),
        (["--upstream", "replay:x", "--model", "m", "--fork-at", "2"], "--fork-at needs the server"),
    ],
)
def test_what_is_no_recording_pattern_or_server_is_one_line(project, pytester, args, line):
    with pytest.raises(pytest.UsageError, match=line):
        parsed(pytester, *args)


def test_without_a_model_the_recorded_one_is_asked(project, pytester, new_session):
    from pytest_agentcap.runs.layout import RunDirectory

    session = new_session()
    session.call([session.user("hello")], session.says("hi"))
    session.save(RunDirectory(pytester.path / "recording"))
    settings = parsed(pytester, "--upstream", "replay:recording")
    assert [(target.id, target.upstream) for target in settings.targets] == [("org/m", "replay:recording")]


def test_a_key_is_for_the_server_that_answers_what_was_not_recorded(project, pytester, monkeypatch):
    monkeypatch.setenv("AGENTCAP_API_KEY", "sk-1234")
    replay = ["--upstream", "replay:x", "--model", "m"]
    strict, live = (
        parsed(pytester, *replay, *more) for more in ([], ["--replay=prefix", "--replay-upstream=http://h"])
    )
    assert key_of(strict.targets[0], strict) is None
    assert key_of(live.targets[0], live).value == "sk-1234"


def test_the_preflight_names_a_recording_that_is_not_there_and_refuses_to_publish_one(project, pytester):
    with pytest.raises(PreflightError, match="--upstream replay:nowhere: "):
        check_upstream("replay:nowhere", None)
    settings = parsed(pytester, "--upstream", "replay:x", "--model", "m", "--push", "me/x")
    with pytest.raises(PreflightError, match="what is replayed is no new data"):
        check_push(settings, "replay:x")


def test_a_replays_provider_is_replay():
    assert provider_of("replay:hf://datasets/a/b", "m") == "replay"
    assert (replayed_source("replay:a"), replayed_source("scripted"), replayed_source(None)) == ("a", None, None)
