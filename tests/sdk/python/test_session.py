"""Lost connections: the stored session must go on where it was.

The Python SDK never subscribes again after a reconnect, so everything that still arrives afterwards
arrives by the hub's memory of the session.
"""

import threading

import pytest
from azure.iot.device import IoTHubDeviceClient, Message, MethodResponse

from support.fleet import Fleet, reconnected
from support.hubd import Hubd, default_store
from support.relay import Relay
from support.waiting import Inbox, eventually


class Subscriber:
    """A client that uses every feature, and shows what reaches it."""

    def __init__(self, client):
        self.client = client
        self.messages = Inbox("cloud-to-device message")
        self.patches = Inbox("desired patch")
        self.requests = Inbox("method request")
        client.on_message_received = self.messages
        client.on_twin_desired_properties_patch_received = self.patches
        client.on_method_request_received = self.answer
        client.get_twin()

    def answer(self, request):
        self.requests(request)
        response = MethodResponse.create_from_method_request(request, 200, request.payload)
        self.client.send_method_response(response)

    def check(self, hub, device, label):
        """Every way to the device works; the label keeps one round from passing for another."""
        hub.api.send(device.device, label.encode())
        assert self.messages.next().data == label.encode()
        hub.rest.patch_twin(device.device, desired={"label": label})
        assert self.patches.next()["label"] == label
        # A hub may learn of a reconnect a little after the client does.
        answer = hub.rest.invoke(device.device, "x", connect_timeout=10, payload=label)
        assert answer.json() == {"status": 200, "payload": label}
        assert self.requests.next().payload == label
        self.client.patch_twin_reported_properties({"label": label})
        twin = self.client.get_twin()
        assert twin["reported"]["label"] == twin["desired"]["label"] == label


def test_cut_connection(hub, fleet, relay, transport):
    device = fleet.device()
    subscriber = Subscriber(fleet.client(device, relay, **transport))
    subscriber.check(hub, device, "before")
    for round in ("first", "second"):
        before = relay.accepted
        relay.drop()
        reconnected(subscriber.client, relay, before)
        subscriber.check(hub, device, round)


def test_deliberate_disconnect(hub, fleet, transport):
    device = fleet.device()
    subscriber = Subscriber(fleet.client(device, **transport))
    subscriber.check(hub, device, "before")
    subscriber.client.disconnect()
    assert not subscriber.client.connected
    subscriber.client.connect()
    subscriber.check(hub, device, "after")


def test_disabled_and_enabled_again(hub, fleet):
    """A disabled device is refused in a way that lets the SDK go on trying."""
    device = fleet.device()
    subscriber = Subscriber(fleet.client(device))
    subscriber.check(hub, device, "before")
    hub.rest.update_identity(device.device, status="disabled")
    eventually(lambda: not subscriber.client.connected, "the hub dropping a disabled device")
    hub.rest.update_identity(device.device, status="enabled")
    eventually(lambda: subscriber.client.connected, "reconnect", 15)
    subscriber.check(hub, device, "after")


def test_deleted_while_connected(hub, fleet):
    device = fleet.device()
    client = fleet.client(device)
    hub.rest.delete_identity(device.device)
    eventually(lambda: not client.connected, "the hub dropping a deleted device")


def test_messages_and_changes_of_an_outage(hub, fleet, relay):
    device = fleet.device()
    subscriber = Subscriber(fleet.client(device, relay))
    subscriber.check(hub, device, "before")
    relay.refuse()
    eventually(lambda: not subscriber.client.connected, "the SDK noticing the outage")
    for number in range(5):
        hub.api.send(device.device, f"queued {number}".encode())
    hub.rest.patch_twin(device.device, desired={"changed": True})
    relay.admit()
    received = [message.data for message in subscriber.messages.take(5, 15)]
    assert received == [f"queued {number}".encode() for number in range(5)]
    # The SDK fetches the twin by itself, because it holds the subscription to answers.
    assert subscriber.patches.next()["changed"] is True
    subscriber.check(hub, device, "after")


def test_telemetry_whose_acknowledgement_got_lost(hub, fleet, relay, transport):
    device = fleet.device()
    client = fleet.client(device, relay, **transport)
    client.send_message("before")
    reader = hub.api.reader()
    relay.freeze_downward()
    sent = threading.Thread(target=client.send_message, args=(Message("unsure"),), daemon=True)
    sent.start()
    assert reader.one(device.device).body == b"unsure"
    assert sent.is_alive(), "the SDK must still be waiting for the acknowledgement"
    relay.drop()
    sent.join(20)
    assert not sent.is_alive(), "the repeated message must be acknowledged"
    client.send_message("after")
    bodies = [event.body for event in reader.wait_for(device.device, 2)]
    # At least once: the hub may keep both copies, and must keep the order.
    assert bodies[1] in (b"unsure", b"after")
    eventually(lambda: reader.poll() or reader.seen[-1].body == b"after", "the last message")


def test_newest_connection_wins(hub, fleet):
    device = fleet.device()
    older = fleet.client(device, connection_retry=False)
    inbox = Inbox("message")
    older.on_message_received = inbox
    newer = Subscriber(fleet.client(device))
    eventually(lambda: not older.connected, "the hub dropping the older connection")
    newer.check(hub, device, "newer")
    assert newer.client.connected and not older.connected
    inbox.stays_empty(0)


def test_device_and_module_do_not_displace_each_other(hub, fleet):
    module = fleet.device(module="m1")
    parent = fleet.adopt(parent_client(hub, fleet, module.device), connect=True)
    child = fleet.client(module)
    child.send_message("from the module")
    parent.send_message("from the device")
    assert parent.connected and child.connected


def parent_client(hub, fleet, device):
    record = hub.rest.get_identity(device)
    key = record["authentication"]["symmetricKey"]["primaryKey"]
    return IoTHubDeviceClient.create_from_symmetric_key(
        key, hub.host_name, device, **fleet.options(None)
    )


def test_connection_state_in_the_registry(hub, fleet):
    device = fleet.device()
    assert device.record["connectionState"] == "Disconnected"
    client = fleet.client(device)
    record = hub.rest.get_identity(device.device)
    assert record["connectionState"] == "Connected"
    client.disconnect()
    eventually(
        lambda: hub.rest.get_identity(device.device)["connectionState"] == "Disconnected",
        "disconnect in the registry",
    )


@pytest.mark.parametrize("crash", [False, True], ids=["stop", "crash"])
def test_hub_restart(tmp_path, crash):
    """A durable hub remembers sessions, queues and twins, whichever way it went down."""
    store = default_store(tmp_path)
    if store == "memory":
        store = f"file:{tmp_path / 'store'}"
    with Hubd(store=store, data_dir=tmp_path / "data") as hub:
        relay = Relay(hub.routes())
        fleet = Fleet(hub, tmp_path)
        try:
            device = fleet.device()
            subscriber = Subscriber(fleet.client(device, relay))
            subscriber.check(hub, device, "before")
            relay.refuse()
            hub.api.send(device.device, b"queued")
            if crash:
                hub.kill()
            else:
                assert hub.stop() == 0
            hub.start()
            relay.routes = hub.routes()
            relay.admit()
            assert subscriber.messages.next(15).data == b"queued"
            subscriber.check(hub, device, "after")
        finally:
            fleet.close()
            relay.close()
