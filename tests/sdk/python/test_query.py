"""Twin queries through the stock service SDK."""

import uuid

import pytest
from azure.iot.hub.models import QuerySpecification, Twin, TwinProperties

from support.refusal import refused


@pytest.fixture
def run():
    """A tag that only the twins of this test have."""
    return uuid.uuid4().hex


@pytest.fixture
def devices(manager, run):
    """Seven devices, of which every third is at site `b`."""
    names = [f"q-{run[:8]}-{number}" for number in range(7)]
    for number, name in enumerate(names):
        manager.create_device_with_sas(name, None, None, "enabled")
        tags = {"run": run, "site": "b" if number % 3 == 0 else "a", "number": number}
        patch = Twin(tags=tags, properties=TwinProperties(desired={"rate": number * 10}))
        manager.update_twin(name, patch, "*")
    return names


def ask(manager, text, **paging):
    return manager.query_iot_hub(QuerySpecification(query=text), **paging)


def test_whole_twins_page_by_page(manager, devices, run):
    text = f"SELECT * FROM devices WHERE tags.run = '{run}'"
    seen, token = [], None
    for size in (3, 3, 1):
        page = ask(manager, text, continuation_token=token, max_item_count=3)
        assert len(page.items) == size
        seen += page.items
        token = page.continuation_token
    assert token is None
    assert [twin.device_id for twin in seen] == devices
    read = manager.get_twin(devices[4])
    assert seen[4].tags == read.tags and seen[4].properties.desired == read.properties.desired
    assert seen[4].etag == read.etag and seen[4].connection_state == "Disconnected"


def test_projections_and_aggregates(manager, devices, run):
    text = f"""SELECT deviceId, tags.number AS number FROM devices
        WHERE tags.run = '{run}' AND properties.desired.rate >= 40 AND tags.site IN ['a']"""
    rows = ask(manager, text).items
    assert [(row.device_id, row.additional_properties["number"]) for row in rows] == [
        (devices[4], 4),
        (devices[5], 5),
    ]
    text = f"""SELECT tags.site AS site, COUNT() AS n, AVG(tags.number) AS mean FROM devices
        WHERE tags.run = '{run}' GROUP BY tags.site"""
    assert [row.additional_properties for row in ask(manager, text).items] == [
        {"site": "a", "n": 4, "mean": 3},
        {"site": "b", "n": 3, "mean": 3},
    ]
    text = f"SELECT TOP 2 deviceId FROM devices WHERE tags.run = '{run}' ORDER BY tags.number DESC"
    assert [row.device_id for row in ask(manager, text).items] == [devices[6], devices[5]]


def test_what_was_just_written_is_found(manager, devices, run):
    text = f"SELECT deviceId FROM devices WHERE tags.run = '{run}' AND tags.mark = "
    for mark in range(10):
        manager.update_twin(devices[0], Twin(tags={"mark": mark}), "*")
        assert [row.device_id for row in ask(manager, f"{text}{mark}").items] == [devices[0]]


def test_modules_have_their_own_rows(manager, devices, run):
    manager.create_module_with_sas(devices[1], "m", "", None, None)
    manager.update_module_twin(devices[1], "m", Twin(tags={"run": run}), "*")
    rows = ask(manager, f"SELECT * FROM devices.modules WHERE tags.run = '{run}'").items
    assert [(row.device_id, row.module_id) for row in rows] == [(devices[1], "m")]
    assert len(ask(manager, f"SELECT * FROM devices WHERE tags.run = '{run}'").items) == 7


@pytest.mark.parametrize("text", ["", "SELECT", "SELECT * FROM twins", "SELECT * FROM devices WHERE"])
def test_bad_queries_are_refused(manager, text):
    with refused(400):
        ask(manager, text)
