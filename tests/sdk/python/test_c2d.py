"""Cloud-to-device messages: sent through the hub's own route, received by the stock SDK."""

import datetime

import pytest

from support.hubapi import HubApi
from support.waiting import Inbox, eventually

# Only what Azure allows in properties of cloud-to-device messages.
PROPERTIES = {
    "plain": "value",
    "amp": "a&b",
    "percent": "100%25",
    "plus": "1+1",
    "hash": "#1",
    "dollar": "$x",
    "quote": "it's",
    "tilde": "~`|^*!",
}


def listen(client):
    inbox = Inbox("cloud-to-device message")
    client.on_message_received = inbox
    return inbox


@pytest.mark.parametrize("auth", ["sas", "x509"])
def test_message_arrives_whole(hub, fleet, transport, auth):
    device = fleet.device(auth)
    inbox = listen(fleet.client(device, **transport))
    expiry = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=30)
    expiry = expiry.replace(microsecond=0)
    answer = hub.api.send(
        device.device,
        "тело".encode(),
        message_id="m:1.2",
        correlation_id="c-1",
        user_id="operator",
        content_type="application/json",
        content_encoding="utf-8",
        ack="full",
        expiry=expiry.isoformat(),
        properties=PROPERTIES,
    )
    assert answer["messageId"] == "m:1.2"

    message = inbox.next()
    assert message.data == "тело".encode()
    assert message.message_id == "m:1.2"
    assert message.correlation_id == "c-1"
    assert message.user_id == "operator"
    assert message.content_type == "application/json"
    assert message.content_encoding == "utf-8"
    assert message.ack == "full"
    assert datetime.datetime.fromisoformat(message.expiry_time_utc) == expiry
    assert message.custom_properties == PROPERTIES


def test_bare_message(hub, fleet):
    device = fleet.device()
    inbox = listen(fleet.client(device))
    hub.api.send(device.device, b"")
    message = inbox.next()
    assert message.data == b""
    assert message.custom_properties == {}
    assert message.ack is None
    assert message.content_type is None


def test_largest_message(hub, fleet):
    device = fleet.device()
    inbox = listen(fleet.client(device))
    body = bytes(range(256)) * 250
    hub.api.send(device.device, body)
    assert inbox.next().data == body
    too_large = hub.api.try_send(device.device, bytes(65 * 1024))
    assert too_large.status_code == 413
    inbox.stays_empty(0.3)


def test_order_and_numbers(hub, fleet, transport):
    device = fleet.device()
    inbox = listen(fleet.client(device, **transport))
    numbers = [
        hub.api.send(device.device, str(number).encode())["sequenceNumber"] for number in range(20)
    ]
    assert numbers == sorted(set(numbers))
    assert [message.data for message in inbox.take(20)] == [str(n).encode() for n in range(20)]


def test_message_waits_for_a_device_that_never_connected(hub, fleet):
    device = fleet.device()
    hub.api.send(device.device, b"early")
    assert listen(fleet.client(device)).next().data == b"early"


def test_nothing_before_the_subscription(hub, fleet):
    device = fleet.device()
    client = fleet.client(device)
    hub.api.send(device.device, b"waiting")
    assert hub.rest.get_identity(device.device)["cloudToDeviceMessageCount"] == 1
    assert listen(client).next().data == b"waiting"


def test_full_queue_refuses_the_51st(hub, fleet):
    device = fleet.device()
    for number in range(50):
        answer = hub.api.send(device.device, str(number).encode())
        assert answer["depth"] == number + 1
    refused = hub.api.try_send(device.device, b"50")
    assert refused.status_code == 403
    assert refused.headers["iothub-errorcode"] == "DeviceMaximumQueueDepthExceeded"
    assert hub.rest.get_identity(device.device)["cloudToDeviceMessageCount"] == 50

    inbox = listen(fleet.client(device))
    assert [message.data for message in inbox.take(50)] == [str(n).encode() for n in range(50)]
    eventually(
        lambda: hub.rest.get_identity(device.device)["cloudToDeviceMessageCount"] == 0,
        "empty queue after the device acknowledged everything",
    )
    hub.api.send(device.device, b"again")
    assert inbox.next().data == b"again"


def test_completed_message_does_not_come_back(hub, fleet, relay):
    device = fleet.device()
    client = fleet.client(device, relay)
    inbox = listen(client)
    hub.api.send(device.device, b"once")
    assert inbox.next().data == b"once"
    eventually(
        lambda: hub.rest.get_identity(device.device)["cloudToDeviceMessageCount"] == 0,
        "completion by the acknowledgement",
    )
    client.disconnect()
    client.connect()
    hub.api.send(device.device, b"next")
    assert inbox.next().data == b"next"
    inbox.stays_empty(0.3)


def test_unacknowledged_message_is_delivered_again(hub, fleet, relay, transport):
    device = fleet.device()
    inbox = listen(fleet.client(device, relay, **transport))
    relay.freeze_upward()  # the device hears, but its acknowledgement gets lost
    hub.api.send(device.device, b"again", message_id="m1")
    assert inbox.next().message_id == "m1"
    assert hub.rest.get_identity(device.device)["cloudToDeviceMessageCount"] == 1

    relay.drop()
    repeated = inbox.next(20)
    assert (repeated.message_id, repeated.data) == ("m1", b"again")
    eventually(
        lambda: hub.rest.get_identity(device.device)["cloudToDeviceMessageCount"] == 0,
        "completion of the second delivery",
    )


def test_queued_while_away(hub, fleet):
    device = fleet.device()
    client = fleet.client(device)
    inbox = listen(client)
    client.disconnect()
    for number in range(3):
        hub.api.send(device.device, str(number).encode())
    # The SDK does not subscribe again: the stored session has to be enough.
    client.connect()
    assert [message.data for message in inbox.take(3)] == [b"0", b"1", b"2"]


def test_expired_message_is_not_delivered(hub, fleet):
    device = fleet.device()
    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1.5)
    hub.api.send(device.device, b"stale", expiry=soon.isoformat())
    hub.api.send(device.device, b"fresh")
    eventually(lambda: datetime.datetime.now(datetime.timezone.utc) > soon, "expiry")
    inbox = listen(fleet.client(device))
    assert inbox.next().data == b"fresh"
    inbox.stays_empty(0.3)


def test_unknown_and_malformed(hub, fleet):
    unknown = hub.api.try_send("no-such-device", b"x")
    assert unknown.status_code == 404
    assert unknown.headers["iothub-errorcode"] == "DeviceNotFound"
    device = fleet.device()
    assert hub.api.try_send(device.device, b"x", ack="perhaps").status_code == 400
    assert hub.api.try_send(device.device, b"x", expiry="tomorrow").status_code == 400
    past = "2001-01-01T00:00:00Z"
    assert hub.api.try_send(device.device, b"x", expiry=past).status_code in (400, 403)
    assert hub.rest.get_identity(device.device)["cloudToDeviceMessageCount"] == 0


def test_sending_needs_the_right_to_connect_as_a_service(hub, fleet):
    device = fleet.device()
    for policy in ("device", "registryReadWrite"):
        refused = HubApi(hub.rest.as_policy(hub.policies[policy])).try_send(device.device, b"x")
        assert refused.status_code in (401, 403), policy
    HubApi(hub.rest.as_policy(hub.policies["service"])).send(device.device, b"x")


def test_module_has_a_queue_of_its_own(hub, fleet):
    module = fleet.device(module="m1")
    hub.api.send(module.device, b"for the module", module="m1")
    assert hub.rest.get_identity(module.device, "m1")["cloudToDeviceMessageCount"] == 1
    assert hub.rest.get_identity(module.device)["cloudToDeviceMessageCount"] == 0
    unknown = hub.api.try_send(module.device, b"x", module="m2")
    assert unknown.status_code == 404
