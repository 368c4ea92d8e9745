"""Configurations and digital twins through the stock service SDK."""

import time
import uuid

import pytest
from azure.iot.device import MethodResponse
from azure.iot.hub import DigitalTwinClient, IoTHubConfigurationManager
from azure.iot.hub.protocol.models import (
    Configuration,
    ConfigurationContent,
    ConfigurationMetrics,
    ConfigurationQueriesTestInput,
    Device,
    DeviceCapabilities,
)

from support.refusal import refused


@pytest.fixture
def configurations(hub, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", hub.ca_file)
    return IoTHubConfigurationManager.from_connection_string(hub.sdk_connection_string())


@pytest.fixture
def digital(hub, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", hub.ca_file)
    return DigitalTwinClient.from_connection_string(hub.sdk_connection_string())


@pytest.fixture
def run():
    return uuid.uuid4().hex[:8]


@pytest.fixture
def devices(manager, run):
    names = [f"c-{run}-{number}" for number in range(2)]
    for name in names:
        manager.create_device_with_sas(name, None, None, "enabled")
    return names


def until(look, wanted):
    deadline = time.monotonic() + 30
    while True:
        found = look()
        if wanted(found):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def test_a_configuration_lives(manager, configurations, devices, run):
    listed = ",".join(f"'{name}'" for name in devices)
    content = ConfigurationContent(device_content={"properties.desired.chiller": {"temp": 66}})
    asked = Configuration(
        id=run, content=content, target_condition=f"deviceId IN [{listed}]", priority=3,
        labels={"site": "a"},
        metrics=ConfigurationMetrics(
            queries={"cold": "SELECT deviceId FROM devices WHERE properties.desired.chiller.temp < 0"}
        ),
    )
    made = configurations.create_configuration(asked)
    assert (made.id, made.priority, made.labels) == (run, 3, {"site": "a"})
    assert made.content.device_content == {"properties.desired.chiller": {"temp": 66}}
    assert made.content.modules_content is None
    state = until(
        lambda: configurations.get_configuration(run),
        lambda found: found.system_metrics.results["appliedCount"] == 2,
    )
    assert state.system_metrics.results["targetedCount"] == 2
    assert state.metrics.results == {"cold": 0}
    for name in devices:
        twin = manager.get_twin(name)
        assert twin.properties.desired["chiller"] == {"temp": 66}
        assert twin.additional_properties["configurations"] == {run: {"status": "Applied"}}
    state.target_condition = f"deviceId = '{devices[0]}'"
    changed = configurations.update_configuration(state, state.etag)
    assert changed.etag != state.etag
    until(lambda: manager.get_twin(devices[1]).properties.desired, lambda d: "chiller" not in d)
    with refused(412):
        configurations.update_configuration(state, state.etag)
    assert run in [found.id for found in configurations.get_configurations()]
    assert len(configurations.get_configurations(1)) == 1
    configurations.delete_configuration(run)
    with refused(404):
        configurations.get_configuration(run)
    until(lambda: manager.get_twin(devices[0]).properties.desired, lambda d: "chiller" not in d)


def test_bad_configurations_are_refused(configurations, run):
    bad = Configuration(
        id=run, content=ConfigurationContent(device_content={}), target_condition="tags.a ="
    )
    with refused(400):
        configurations.create_configuration(bad)
    with refused(404):
        configurations.get_configuration(run)


def test_queries_are_tried(configurations):
    asked = ConfigurationQueriesTestInput(
        target_condition="tags.a =", custom_metric_queries={"m": "SELECT deviceId FROM devices"}
    )
    trial = configurations.test_configuration_queries(asked)
    assert trial.target_condition_error.startswith("line 1, column 9")
    assert trial.custom_metric_query_errors == {}


def test_a_content_is_applied_to_an_edge_device(manager, configurations, run):
    name = f"e-{run}"
    manager.protocol.devices.create_or_update_identity(
        name, Device(device_id=name, capabilities=DeviceCapabilities(iot_edge=True))
    )
    modules = {"filter": {"properties.desired": {"limit": 25}}}
    configurations.apply_configuration_on_edge_device(
        name, ConfigurationContent(modules_content=modules)
    )
    assert manager.get_module_twin(name, "filter").properties.desired["limit"] == 25


def test_a_digital_twin_is_read_and_patched(manager, digital, devices):
    name = devices[0]
    patch = [
        {"op": "add", "path": "/targetTemperature", "value": 42},
        {"op": "add", "path": "/thermostat1", "value": {"$metadata": {}, "limit": 3}},
    ]
    digital.update_digital_twin(name, patch)
    twin = digital.get_digital_twin(name)
    assert twin["$dtId"] == name
    assert twin["$metadata"]["$model"] == ""
    assert twin["$metadata"]["targetTemperature"]["desiredValue"] == 42
    assert twin["thermostat1"]["$metadata"]["limit"]["desiredValue"] == 3
    desired = manager.get_twin(name).properties.desired
    assert desired["thermostat1"] == {"__t": "c", "limit": 3}
    with refused(412):
        digital.update_digital_twin(name, patch, "bm9uZQ==")
    with refused(400):
        digital.update_digital_twin(name, [{"op": "remove", "path": "/gone"}])
    with refused(404):
        digital.invoke_command(name, "reboot", {"delay": 1})


def test_a_plug_and_play_device_answers_commands(hub, fleet, digital):
    identity = fleet.device()
    model = "dtmi:com:example:TemperatureController;1"
    client = fleet.client(identity, product_info=model)

    def handle(request):
        answer = {"name": request.name, "saw": request.payload}
        client.send_method_response(MethodResponse.create_from_method_request(request, 202, answer))

    client.on_method_request_received = handle
    client.patch_twin_reported_properties({"serialNumber": "x1", "thermostat1": {"__t": "c", "t": 20}})
    twin = until(
        lambda: digital.get_digital_twin(identity.device), lambda found: "thermostat1" in found
    )
    assert twin["$metadata"]["$model"] == model
    assert (twin["serialNumber"], twin["thermostat1"]["t"]) == ("x1", 20)
    times = {"connect_timeout_in_seconds": 10, "response_timeout_in_seconds": 10}
    answer = digital.invoke_command(identity.device, "reboot", {"delay": 3}, **times)
    assert answer == {"name": "reboot", "saw": {"delay": 3}}
    answer = digital.invoke_component_command(
        identity.device, "thermostat1", "getMaxMinReport", "2020", **times
    )
    assert answer == {"name": "thermostat1*getMaxMinReport", "saw": "2020"}
