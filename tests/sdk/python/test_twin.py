"""Twins as a device sees them through the stock SDK."""

import re

import pytest
from azure.iot.device.exceptions import ClientError

from support.waiting import Inbox

FRESH = {"desired": {"$version": 1}, "reported": {"$version": 1}}


def watch(client):
    """The desired patches that a client is told of from now on."""
    inbox = Inbox("desired patch")
    client.on_twin_desired_properties_patch_received = inbox
    return inbox


def test_on_every_link(hub, fleet, identity, transport):
    client = fleet.client(identity, **transport)
    assert client.get_twin() == FRESH

    client.patch_twin_reported_properties({"battery": 55, "note": "é 漢字"})
    twin = client.get_twin()
    assert twin["reported"] == {"battery": 55, "note": "é 漢字", "$version": 2}
    reported = hub.rest.get_twin(**identity.place)["properties"]["reported"]
    assert reported["battery"] == 55 and reported["$version"] == 2

    inbox = watch(client)
    hub.rest.patch_twin(**identity.place, desired={"rate": "5m"})
    assert inbox.next() == {"rate": "5m", "$version": 2}
    assert client.get_twin()["desired"] == {"rate": "5m", "$version": 2}


def test_device_sees_neither_tags_nor_metadata(hub, fleet):
    device = fleet.device()
    hub.rest.patch_twin(device.device, desired={"a": {"b": 1}}, tags={"place": "roof"})
    twin = fleet.client(device).get_twin()
    assert twin == {"desired": {"a": {"b": 1}, "$version": 2}, "reported": {"$version": 1}}


# Section before, patch, section after.
MERGES = [
    ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
    ({"a": 1}, {"a": 2}, {"a": 2}),
    ({"a": 1}, {"a": 1}, {"a": 1}),
    ({"a": 1, "b": 2}, {"a": None}, {"b": 2}),
    ({"z": 0}, {"a": None}, {"z": 0}),
    ({"z": 0}, {"a": {"b": None}}, {"z": 0, "a": {}}),
    ({"a": {"b": 1, "c": 2}}, {"a": {"b": None}}, {"a": {"c": 2}}),
    ({"a": {"b": 1}}, {"a": {"b": None}}, {"a": {}}),
    ({"a": {"b": 1}}, {"a": {}}, {"a": {"b": 1}}),
    ({"a": {"b": 1}}, {"a": {"z": None}}, {"a": {"b": 1}}),
    ({"a": {"b": 1}}, {"a": 5}, {"a": 5}),
    ({"a": 5}, {"a": {"b": 1}}, {"a": {"b": 1}}),
    ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
    ({"a": 1}, {"A": 2}, {"a": 1, "A": 2}),
]


def test_reported_patches_merge(hub, fleet):
    client = fleet.client(fleet.device())
    for before, patch, after in MERGES:
        held = client.get_twin()["reported"]
        client.patch_twin_reported_properties({key: None for key in held if key != "$version"})
        client.patch_twin_reported_properties(before)
        client.patch_twin_reported_properties(patch)
        reported = client.get_twin()["reported"]
        del reported["$version"]
        assert reported == after, (before, patch)


def test_versions_count_by_one(hub, fleet):
    device = fleet.device()
    client = fleet.client(device)
    inbox = watch(client)
    for version in range(2, 6):
        client.patch_twin_reported_properties({"n": version})
        assert client.get_twin()["reported"]["$version"] == version
        hub.rest.patch_twin(device.device, desired={"n": version})
        assert inbox.next() == {"n": version, "$version": version}


def deep(levels):
    """An object with a value `levels` levels down."""
    value = 1
    for _ in range(levels):
        value = {"x": value}
    return value


@pytest.mark.parametrize(
    "patch",
    [
        {"a.b": 1},
        {"a b": 1},
        {"a$b": 1},
        {"n": {"a.b": 1}},
        {"control\u0001": 1},
        {"a": [1, None]},
        {"a": [{"b": None}]},
        {"a": deep(12)},
        {"a": "x" * 5000},
        {"a": 2**53},
        {"k" * 1100: 1},
        {"a": {str(number): "x" * 4000 for number in range(9)}},
    ],
    ids=["dot", "space", "dollar", "nested-dot", "control", "null-in-array", "null-in-array-object",
         "too-deep", "long-text", "large-integer", "long-key", "large-section"],
)  # fmt: skip
def test_bad_reported_patch_raises_and_changes_nothing(fleet, patch):
    client = fleet.client(fleet.device())
    client.patch_twin_reported_properties({"good": 1})
    with pytest.raises(ClientError) as raised:
        client.patch_twin_reported_properties({"other": 1, **patch})
    assert re.search(r"status 4(00|13)$", str(raised.value.__cause__))
    assert client.get_twin()["reported"] == {"good": 1, "$version": 2}


def test_values_at_the_limits_are_taken(fleet):
    client = fleet.client(fleet.device())
    patch = {
        "deep": deep(9),
        "text": "x" * 4096,
        "most": 2**52 - 1,
        "least": -(2**52),
        "fraction": 0.25,
        "flag": False,
        "list": [1, "two", {"three": [3]}, []],
        "empty": {},
    }
    client.patch_twin_reported_properties(patch)
    assert client.get_twin()["reported"] == {**patch, "$version": 2}


def test_desired_patch_comes_verbatim(hub, fleet, transport):
    device = fleet.device()
    hub.rest.patch_twin(device.device, desired={"keep": 1, "drop": 2, "sub": {"a": 1, "b": 2}})
    client = fleet.client(device, **transport)
    client.get_twin()
    inbox = watch(client)
    patch = {"drop": None, "sub": {"b": None, "c": [1]}, "never-there": None, "keep": 1}
    hub.rest.patch_twin(device.device, desired=patch)
    assert inbox.next() == {**patch, "$version": 3}
    assert client.get_twin()["desired"] == {"keep": 1, "sub": {"a": 1, "c": [1]}, "$version": 3}


def test_desired_replacement_names_what_vanished(hub, fleet):
    device = fleet.device()
    hub.rest.patch_twin(device.device, desired={"a": 1, "b": 2})
    client = fleet.client(device)
    client.get_twin()
    inbox = watch(client)
    hub.rest.replace_desired(device.device, {"a": 1, "c": 100})
    assert inbox.next() == {"a": 1, "b": None, "c": 100, "$version": 3}
    assert client.get_twin()["desired"] == {"a": 1, "c": 100, "$version": 3}


def test_desired_changes_come_in_order(hub, fleet):
    device = fleet.device()
    client = fleet.client(device)
    inbox = watch(client)
    for number in range(20):
        hub.rest.patch_twin(device.device, desired={"n": number})
    patches = inbox.take(20)
    assert [each["$version"] for each in patches] == list(range(2, 22))
    assert [each["n"] for each in patches] == list(range(20))


def test_tags_are_not_announced(hub, fleet):
    device = fleet.device()
    inbox = watch(fleet.client(device))
    hub.rest.patch_twin(device.device, tags={"floor": 2})
    hub.rest.patch_twin(device.device, desired={"n": 1})
    assert inbox.next()["n"] == 1


def test_reported_patch_is_not_announced(fleet):
    client = fleet.client(fleet.device())
    inbox = watch(client)
    client.patch_twin_reported_properties({"n": 1})
    inbox.stays_empty(0.5)


def test_patch_handler_first(hub, fleet):
    """The SDK asks for the twin without subscribing to the answer, and must not get one.

    It would hand the whole desired section to the application as if it were a change.
    """
    device = fleet.device()
    hub.rest.patch_twin(device.device, desired={"old": 1})
    client = fleet.client(device, connect=False)
    trouble = Inbox("background exception")
    client.on_background_exception = trouble
    inbox = watch(client)
    inbox.stays_empty(1)
    hub.rest.patch_twin(device.device, desired={"new": 2})
    assert inbox.next() == {"new": 2, "$version": 3}
    trouble.stays_empty(0.1)


def test_changes_missed_while_away_are_fetched(hub, fleet):
    device = fleet.device()
    client = fleet.client(device)
    client.get_twin()
    inbox = watch(client)
    client.disconnect()
    hub.rest.patch_twin(device.device, desired={"missed": 1})
    # Here the SDK holds a subscription to answers, so that its own twin GET may be answered.
    client.connect()
    assert inbox.next() == {"missed": 1, "$version": 2}
    hub.rest.patch_twin(device.device, desired={"seen": 2})
    assert inbox.next() == {"seen": 2, "$version": 3}


def test_device_and_module_twins_are_apart(hub, fleet):
    module = fleet.device(module="m1")
    rest = hub.rest
    client = fleet.client(module)
    inbox = watch(client)
    rest.patch_twin(module.device, desired={"whose": "device"})
    rest.patch_twin(module.device, module="m1", desired={"whose": "module"})
    assert inbox.next() == {"whose": "module", "$version": 2}
    client.patch_twin_reported_properties({"from": "module"})
    assert "from" not in rest.get_twin(module.device)["properties"]["reported"]
