"""Twins, methods and queues through the stock service SDK."""

import pytest
from azure.iot.device import MethodResponse
from azure.iot.hub.models import CloudToDeviceMethod, Twin, TwinProperties

from support.refusal import refused


@pytest.fixture(params=["device", "module"])
def twin(request, manager, fleet):
    """The twin calls of the SDK, for a device and for a module."""
    identity = fleet.device(module="m1" if request.param == "module" else None)

    class Calls:
        place = (identity.device, "m1") if identity.module else (identity.device,)
        if identity.module:
            calls = manager.get_module_twin, manager.update_module_twin, manager.replace_module_twin
        else:
            calls = manager.get_twin, manager.update_twin, manager.replace_twin

        def get(self):
            return self.calls[0](*self.place)

        def update(self, desired=None, tags=None, etag=None):
            properties = TwinProperties(desired=desired) if desired is not None else None
            return self.calls[1](*self.place, Twin(properties=properties, tags=tags), etag)

        def replace(self, desired=None, tags=None, etag=None):
            properties = TwinProperties(desired=desired) if desired is not None else None
            return self.calls[2](*self.place, Twin(properties=properties, tags=tags), etag)

    calls = Calls()
    calls.identity = identity
    return calls


def plain(section):
    return {key: value for key, value in section.items() if not key.startswith("$")}


def test_fresh_twin(twin):
    fresh = twin.get()
    assert fresh.device_id == twin.identity.device
    assert (fresh.module_id or None) == twin.identity.module
    assert fresh.version == 2
    assert fresh.etag == "AAAAAAAAAAE="
    assert fresh.device_etag == twin.identity.record["etag"]
    assert fresh.status in ("enabled", None)
    assert fresh.connection_state == "Disconnected"
    assert fresh.authentication_type == "sas"
    assert (fresh.tags or {}) == {}
    for section in (fresh.properties.desired, fresh.properties.reported):
        assert section["$version"] == 1
        assert plain(section) == {}
        assert "$lastUpdated" in section["$metadata"]


def test_update_merges(twin):
    twin.update(desired={"a": {"b": 1, "c": 2}, "d": 3}, tags={"place": {"floor": 1}})
    answer = twin.update(desired={"a": {"b": None}, "e": [1]}, tags={"place": {"room": 2}})
    for seen in (answer, twin.get()):
        assert plain(seen.properties.desired) == {"a": {"c": 2}, "d": 3, "e": [1]}
        assert seen.properties.desired["$version"] == 3
        assert seen.tags == {"place": {"floor": 1, "room": 2}}


def test_metadata_follows_the_properties(twin):
    twin.update(desired={"a": {"b": 1}, "z": 0})
    first = twin.get().properties.desired["$metadata"]
    assert first["a"]["b"]["$lastUpdatedVersion"] == first["$lastUpdatedVersion"] == 2
    twin.update(desired={"a": {"c": 1}})
    second = twin.get().properties.desired["$metadata"]
    assert second["z"] == first["z"] and second["a"]["b"] == first["a"]["b"]
    assert second["a"]["c"]["$lastUpdatedVersion"] == 3
    assert second["a"]["$lastUpdatedVersion"] == second["$lastUpdatedVersion"] == 3
    twin.update(desired={"z": None})
    third = twin.get().properties.desired["$metadata"]
    assert "z" not in third and third["$lastUpdatedVersion"] == 4


def test_replace(twin):
    twin.update(desired={"a": 1, "b": 2}, tags={"x": 1, "y": 2})
    answer = twin.replace(desired={"c": 3}, tags={"z": 3})
    for seen in (answer, twin.get()):
        assert plain(seen.properties.desired) == {"c": 3}
        assert seen.tags == {"z": 3}
        assert seen.properties.desired["$version"] == 3


def test_etag(twin):
    first = twin.get()
    second = twin.update(desired={"a": 1}, etag=first.etag)
    assert second.etag != first.etag and second.version > first.version
    with refused(412):
        twin.update(desired={"a": 2}, etag=first.etag)
    with refused(412):
        twin.replace(desired={"a": 2}, etag=first.etag)
    assert plain(twin.get().properties.desired) == {"a": 1}
    twin.replace(desired={"a": 3}, etag=second.etag)
    assert plain(twin.get().properties.desired) == {"a": 3}


def test_reported_patch_leaves_the_etag_alone(twin, fleet):
    before = twin.get()
    fleet.client(twin.identity).patch_twin_reported_properties({"n": 1})
    after = twin.get()
    assert after.etag == before.etag
    assert after.version > before.version
    assert plain(after.properties.reported) == {"n": 1}


@pytest.mark.parametrize(
    "desired",
    [{"a.b": 1}, {"a b": 1}, {"a": [None]}, {"a": "x" * 5000}],
    ids=["dot", "space", "null", "long"],
)
def test_bad_desired_changes_nothing(twin, desired):
    with refused(400):
        twin.update(desired={"good": 1, **desired})
    seen = twin.get()
    assert plain(seen.properties.desired) == {} and seen.version == 2


def test_twin_of_nobody(manager, fleet):
    with refused(404):
        manager.get_twin("no-such-device")
    with refused(404):
        manager.update_twin("no-such-device", Twin(tags={"a": 1}))
    with refused(404):
        manager.get_module_twin(fleet.device().device, "no-such-module")


def serve(client, status, answer):
    def handle(request):
        payload = answer(request)
        response = MethodResponse.create_from_method_request(request, status, payload)
        client.send_method_response(response)

    client.on_method_request_received = handle


def method(name, payload=None, **timeouts):
    return CloudToDeviceMethod(method_name=name, payload=payload, **timeouts)


def test_methods_of_device_and_module(manager, fleet):
    module = fleet.device(module="m1")
    serve(fleet.client(module), 299, lambda request: {"module": request.payload})
    result = manager.invoke_device_module_method(module.device, "m1", method("x", {"a": 1}))
    assert (result.status, result.payload) == (299, {"module": {"a": 1}})

    device = fleet.device()
    serve(fleet.client(device), 200, lambda request: [request.name, request.payload])
    result = manager.invoke_device_method(device.device, method("reboot", "now"))
    assert (result.status, result.payload) == (200, ["reboot", "now"])
    # The SDK itself turns no payload into an empty text.
    assert manager.invoke_device_method(device.device, method("x")).payload == ["x", ""]


def test_method_refusals(manager, fleet):
    device = fleet.device()
    with refused(404):
        manager.invoke_device_method(device.device, method("x"))
    with refused(404):
        manager.invoke_device_method("no-such-device", method("x"))
    with refused(404):
        manager.invoke_device_module_method(device.device, "m1", method("x"))
    with refused(400):
        manager.invoke_device_method(device.device, method("x", response_timeout_in_seconds=1))


def test_method_without_an_answer(manager, fleet):
    device = fleet.device()
    fleet.client(device).on_method_request_received = lambda request: None
    with refused(504):
        manager.invoke_device_method(device.device, method("x", response_timeout_in_seconds=5))


def test_purge(hub, manager, fleet):
    device = fleet.device()
    for _ in range(3):
        hub.api.send(device.device, b"x")
    purge = manager.protocol.cloud_to_device_messages.purge_cloud_to_device_message_queue
    result = purge(device.device)
    assert (result.device_id, result.total_messages_purged) == (device.device, 3)
    assert manager.get_device(device.device).cloud_to_device_message_count == 0
    assert purge(device.device).total_messages_purged == 0
    with refused(404):
        purge("no-such-device")
