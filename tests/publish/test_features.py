"""What a captures card declares of its columns."""

from __future__ import annotations

import pytest

from pytest_agentcap.publish.features import dataset_info, with_missing_features
from pytest_agentcap.publish.schema import SCHEMA


def test_the_columns_are_declared_as_datasets_spells_them():
    datasets = pytest.importorskip("datasets")
    assert dataset_info()["features"] == datasets.Features.from_arrow_schema(SCHEMA)._to_yaml_list()


def test_a_card_of_another_version_gets_the_columns_that_it_lacks():
    [first, *rest] = dataset_info()["features"]
    known = {"features": [{"name": "mine", "dtype": "string"}, *rest], "config_name": "default"}
    assert with_missing_features(known) == {**known, "features": [*known["features"], first]}


def test_what_somebody_declared_in_another_way_stays():
    for known in (None, [{"config_name": "a"}], {"features": "odd"}, {"features": ["odd"]}):
        assert with_missing_features(known) == known
