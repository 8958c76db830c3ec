from __future__ import annotations

import pytest

from pytest_agentcap.sharding import Shard, ShardError, shard_of_environment, shard_text

SLURM = {
    "SLURM_ARRAY_TASK_ID": "2",
    "SLURM_ARRAY_TASK_MIN": "0",
    "SLURM_ARRAY_TASK_MAX": "15",
    "SLURM_ARRAY_TASK_COUNT": "16",
}
NODEIDS = [f"corpora/x/tasks.txt::test_task[pi-m-task-{n}]" for n in range(300)]


@pytest.mark.parametrize(
    ("environ", "shard"),
    [
        ({"AGENTCAP_SHARD": "3/16"}, "3/16"),
        (SLURM, "3/16"),
        ({"JOB_COMPLETION_INDEX": "0", "AGENTCAP_SHARDS": "4"}, "1/4"),
        ({"CI_NODE_INDEX": "4", "CI_NODE_TOTAL": "4"}, "4/4"),
        # Whoever sets it by hand knows better than the scheduler.
        ({"AGENTCAP_SHARD": "1/2", **SLURM}, "1/2"),
    ],
)
def test_auto_is_what_the_scheduler_says(environ, shard):
    assert shard_text("auto", environ) == shard


@pytest.mark.parametrize(
    ("environ", "shard"),
    [
        # Some of an array that is submitted again keep their place.
        ({"SLURM_ARRAY_TASK_ID": "5", "SLURM_ARRAY_TASK_COUNT": "1"}, "6/16"),
        ({"JOB_COMPLETION_INDEX": "15"}, "16/16"),
        ({"CI_NODE_INDEX": "2", "CI_NODE_TOTAL": "16"}, "2/16"),
        ({"AGENTCAP_SHARD": "3/16"}, "3/16"),
    ],
)
def test_auto_with_a_number_says_how_many_there_are(environ, shard):
    assert shard_text("auto/16", environ) == shard


@pytest.mark.parametrize(
    ("text", "environ", "message"),
    [
        ("auto", {}, "no scheduler says which shard this is"),
        ("auto", {"JOB_COMPLETION_INDEX": "1"}, "give auto/N, or set AGENTCAP_SHARDS=N"),
        ("auto", {**SLURM, "SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_MAX": "16"}, "number it from 0"),
        ("auto", {**SLURM, "SLURM_ARRAY_TASK_COUNT": "3"}, "from 0 to 15 with 3 task"),
        ("auto", {k: "0" if k[-3:] != "UNT" else "1" for k in SLURM}, "give auto/N"),
        ("auto", {**SLURM, "SLURM_ARRAY_TASK_COUNT": ""}, "SLURM_ARRAY_TASK_COUNT is '' and no number"),
        ("auto/2", SLURM, "SLURM_ARRAY_TASK_ID=2 is none of 2 shards: they are numbered from 0 to 1"),
        ("auto", {**SLURM, "CI_NODE_INDEX": "1"}, "SLURM_ARRAY_TASK_ID and CI_NODE_INDEX both say"),
        ("auto/3", {"CI_NODE_INDEX": "1", "CI_NODE_TOTAL": "4"}, "CI_NODE_TOTAL is 4, and 3 shards were asked for"),
        ("auto/3", {"AGENTCAP_SHARD": "1/4"}, "AGENTCAP_SHARD=1/4 is not one of 3 shards"),
        ("auto", {"AGENTCAP_SHARD": "0/4"}, "'0/4' is no shard"),
        ("auto/x", {}, "'auto/x' is no shard: give auto/N"),
        ("4/3", {}, "'4/3' is no shard: give I/N, such as 2/16, with I from 1 to N"),
        ("1", {}, "'1' is no shard"),
        ("١/٣", {}, "is no shard"),
    ],
)
def test_what_does_not_name_one_shard_is_refused(text, environ, message):
    with pytest.raises(ShardError, match=message):
        shard_text(text, environ)


def test_every_test_is_in_one_shard_and_each_shard_has_its_part():
    shards = [Shard(index, 7) for index in range(1, 8)]
    counts = [sum(shard.has(nodeid) for nodeid in NODEIDS) for shard in shards]
    assert sum(counts) == len(NODEIDS)
    assert all(sum(shard.has(nodeid) for shard in shards) == 1 for nodeid in NODEIDS)
    assert min(counts) > 20


def test_a_shard_is_the_same_in_every_release():
    assert [n for n in range(20) if Shard(1, 3).has(NODEIDS[n])] == [0, 1, 2, 4, 5, 10, 11, 18, 19]
    assert Shard(1, 1).has("half a pair: \ud800")


def test_a_shard_of_the_environment_needs_one_scheduler():
    assert str(shard_of_environment({"CI_NODE_INDEX": "1", "CI_NODE_TOTAL": "2", "SLURM_ARRAY_TASK_ID": ""})) == "1/2"
