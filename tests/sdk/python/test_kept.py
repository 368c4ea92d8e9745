"""What a hub keeps only if it is told to, as stock clients meet it."""

import pytest

from support.hubd import Hubd, keeping
from support.waiting import Inbox, eventually


@pytest.fixture(scope="module")
def hub():
    with Hubd(program=keeping()) as hubd:
        yield hubd


class Settings:
    """What an application keeps of its desired properties that only listens, and never reads them."""

    def __init__(self, client):
        self.values = {}
        self.version = 0
        self.patches = []
        client.on_twin_desired_properties_patch_received = self

    def __call__(self, patch):
        self.patches.append(patch)
        self.version = patch["$version"]
        merge(self.values, {name: value for name, value in patch.items() if name != "$version"})


def merge(values, patch):
    for name, value in patch.items():
        if value is None:
            values.pop(name, None)
        elif isinstance(value, dict):
            if not isinstance(values.get(name), dict):
                values[name] = {}
            merge(values[name], value)
        else:
            values[name] = value


def desired(hub, device):
    found = hub.rest.get_twin(device.device)["properties"]["desired"]
    return {name: value for name, value in found.items() if not name.startswith("$")}


def settle(hub, device, settings):
    """Waits until the application has its settings; gives the version they are of."""
    version = hub.rest.get_twin(device.device)["properties"]["desired"]["$version"]
    eventually(lambda: settings.version == version, f"version {version}")
    eventually(lambda: settings.values == desired(hub, device), "the same settings")
    return version


def test_a_client_that_only_listens_has_its_settings(hub, fleet, transport):
    """The SDK never asks here: whatever the application knows, it was told."""
    device = fleet.device()
    hub.rest.patch_twin(device.device, desired={"rate": 5, "old": {"a": 1, "b": 2}, "gone": 1})
    client = fleet.client(device, connect=False, **transport)
    settings = Settings(client)
    client.connect()
    settle(hub, device, settings)
    hub.rest.patch_twin(device.device, desired={"rate": 6, "new": True})
    settle(hub, device, settings)


def test_what_was_removed_while_a_client_was_away_is_gone(hub, fleet, transport):
    device = fleet.device()
    client = fleet.client(device, **transport)
    settings = Settings(client)
    hub.rest.patch_twin(device.device, desired={"keep": 1, "old": {"a": 1, "b": 2}, "gone": 1})
    settle(hub, device, settings)
    for _ in range(3):
        client.disconnect()
        hub.rest.patch_twin(device.device, desired={"gone": None, "old": {"a": None}, "rate": 7})
        hub.rest.patch_twin(device.device, desired={"never": "seen"})
        hub.rest.patch_twin(device.device, desired={"never": None, "rate": 8})
        client.connect()
        settle(hub, device, settings)
        assert "gone" not in settings.values and settings.values["old"] == {"b": 2}
        hub.rest.patch_twin(device.device, desired={"gone": 2, "old": {"a": 3}})
        settle(hub, device, settings)
    hub.rest.replace_desired(device.device, {"only": 1})
    settle(hub, device, settings)
    assert settings.values == {"only": 1}


def test_a_client_cut_off_catches_up(hub, fleet, relay):
    device = fleet.device()
    client = fleet.client(device, relay)
    settings = Settings(client)
    hub.rest.patch_twin(device.device, desired={"a": 1, "b": {"c": 1}})
    settle(hub, device, settings)
    relay.refuse()
    hub.rest.patch_twin(device.device, desired={"a": None, "b": {"d": 2}})
    relay.admit()
    settle(hub, device, settings)


def test_a_dead_letter_is_sent_again_to_a_client(hub, fleet):
    device = fleet.device()
    hub.api.send(device.device, b"open", message_id="m1", properties={"k": "v"})
    hub.api.purge(device.device)
    [letter] = hub.api.dead_letters(device.device)
    assert (letter["cause"], letter["properties"]) == ("Purged", {"k": "v"})
    inbox = Inbox("cloud-to-device message")
    fleet.client(device).on_message_received = inbox
    hub.api.replay(device.device, letter["number"])
    message = inbox.next()
    assert (message.data, message.message_id) == (b"open", "m1")
    assert message.custom_properties == {"k": "v"}
    assert hub.api.dead_letters(device.device) == []


def test_a_report_of_a_client_is_in_the_history(hub, fleet):
    device = fleet.device()
    client = fleet.client(device)
    client.patch_twin_reported_properties({"battery": 55})
    client.patch_twin_reported_properties({"battery": 54})
    [_, change] = hub.api.twin_changes(device.device)
    assert (change["by"], change["sections"]) == ("device", ["properties.reported"])
    assert change["previous"] == {"properties": {"reported": {"battery": 55}}}
    before = hub.api.twin_at(device.device, change["version"] - 1)
    assert before["properties"]["reported"]["battery"] == 55
