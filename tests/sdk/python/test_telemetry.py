"""Telemetry, read back from the hub's event log."""

import asyncio
import datetime
import json

import pytest
from azure.iot.device import Message
from azure.iot.device.aio import IoTHubDeviceClient

AWKWARD = {
    "plain": "value",
    "a&b": "c=d&e",
    "sl/ash": "/x//y/",
    "plus+": "1+1 = 2",
    "per%cent": "100%25",
    "hash#": "#?$",
    "ключ": "значение é 漢字 🚀",
    "space in name": " leading and trailing ",
    "quote\"'": "{\"json\": 'x'}",
    "Case": "Kept",
}


@pytest.fixture
def reader(hub):
    return hub.api.reader()


def test_message_arrives_whole(hub, fleet, identity, transport, reader):
    client = fleet.client(identity, **transport)
    message = Message(json.dumps({"t": 21.5}), message_id="m-1", content_type="application/json")
    message.content_encoding = "utf-8"
    message.correlation_id = "c/1 ü"
    message.user_id = "user one"
    message.expiry_time_utc = "2031-02-03T04:05:06Z"
    message.custom_properties = dict(AWKWARD)
    before = datetime.datetime.now(datetime.timezone.utc)
    client.send_message(message)

    event = reader.one(identity.device)
    assert event.body == b'{"t": 21.5}'
    assert event.properties == AWKWARD
    assert event.module == identity.module
    sent = {
        "message-id": "m-1",
        "correlation-id": "c/1 ü",
        "user-id": "user one",
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "iothub-connection-auth-generation-id": identity.record["generationId"],
        "iothub-message-source": "Telemetry",
    }
    assert {name: event.system.get(name) for name in sent} == sent
    method = json.loads(event.system["iothub-connection-auth-method"])
    assert method["scope"] == ("module" if identity.module else "device")
    assert method["type"] == ("x509" if identity.certificate else "sas")
    expiry = datetime.datetime.fromisoformat(event.system["absolute-expiry-time"])
    assert expiry == datetime.datetime(2031, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc)
    enqueued = datetime.datetime.fromisoformat(event.enqueued_time)
    slack = datetime.timedelta(seconds=2)
    assert before - slack < enqueued < datetime.datetime.now(datetime.timezone.utc) + slack


@pytest.mark.parametrize(
    "body",
    [b"", b"x", "текст".encode(), bytes(range(256)), b"\x00" * 6, bytes(255 * 1024)],
    ids=["empty", "one", "text", "binary", "zeros", "255K"],
)
def test_any_body(fleet, transport, reader, body):
    device = fleet.device()
    fleet.client(device, **transport).send_message(Message(body))
    event = reader.one(device.device)
    assert event.body == body
    assert event.properties == {}


def test_plain_message_has_no_invented_properties(fleet, reader):
    device = fleet.device()
    fleet.client(device).send_message("hello")
    event = reader.one(device.device)
    assert event.body == b"hello"
    assert event.module is None
    assert "message-id" not in event.system
    assert "content-type" not in event.system


def test_empty_property_value(fleet, reader):
    device = fleet.device()
    message = Message("x")
    message.custom_properties = {"empty": "", "full": "1"}
    fleet.client(device).send_message(message)
    assert reader.one(device.device).properties == {"empty": "", "full": "1"}


def test_order_is_kept_within_a_device(fleet, transport, reader):
    device = fleet.device()
    client = fleet.client(device, **transport)
    for number in range(40):
        client.send_message(str(number))
    events = reader.wait_for(device.device, 40)
    assert [event.body.decode() for event in events] == [str(number) for number in range(40)]
    assert len({event.partition for event in events}) == 1
    numbers = [event.sequence_number for event in events]
    assert numbers == sorted(set(numbers))


def test_many_devices_at_once(fleet, reader):
    devices = [fleet.device() for _ in range(5)]
    clients = [fleet.client(each) for each in devices]
    for number in range(3):
        for device, client in zip(devices, clients):
            client.send_message(f"{device.device} {number}")
    for device in devices:
        bodies = [event.body.decode() for event in reader.wait_for(device.device, 3)]
        assert bodies == [f"{device.device} {number}" for number in range(3)]


def test_security_message(fleet, reader):
    device = fleet.device()
    message = Message("{}")
    message.set_as_security_message()
    fleet.client(device).send_message(message)
    event = reader.one(device.device)
    assert event.system["iothub-interface-id"] == "urn:azureiot:Security:SecurityAgent:1"


def test_model_id_of_the_connection(hub, fleet, reader):
    device = fleet.device()
    model = "dtmi:com:example:Thermostat;1"
    fleet.client(device, product_info=model).send_message("{}")
    assert reader.one(device.device).system["dt-dataschema"] == model
    assert hub.rest.get_twin(device.device)["modelId"] == model


def test_module_output(fleet, reader):
    module = fleet.device(module="m1")
    message = Message("x")
    message.custom_properties = {"a": "b"}
    fleet.client(module).send_message_to_output(message, "out 1")
    event = reader.one(module.device)
    assert event.system["iothub-outputname"] == "out 1"
    assert event.properties == {"a": "b"}
    assert event.module == "m1"


@pytest.mark.parametrize("name", ["a-b.c_d", "x%41", "q*?!(1)", "p=1,2", "m@'n", "Case"])
def test_unusual_device_ids(fleet, transport, reader, name):
    device = fleet.device(device=f"{name}-{fleet.device().device}")
    fleet.client(device, **transport).send_message("hello")
    assert reader.one(device.device).body == b"hello"


def test_async_client(hub, reader, fleet):
    """The asynchronous SDK client is a second front on the same wire."""
    device = fleet.device()

    async def run():
        text = device.connection_string(hub.host_name)
        client = IoTHubDeviceClient.create_from_connection_string(text, **fleet.options(None))
        await asyncio.wait_for(client.connect(), 10)
        await asyncio.wait_for(client.send_message("async"), 10)
        twin = await asyncio.wait_for(client.get_twin(), 10)
        await asyncio.wait_for(client.shutdown(), 10)
        return twin

    twin = asyncio.run(run())
    assert twin["desired"]["$version"] == 1
    assert reader.one(device.device).body == b"async"
