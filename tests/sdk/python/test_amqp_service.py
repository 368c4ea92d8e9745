"""Back ends over AMQP: messages to devices and feedback on them, through uamqp."""

import datetime
import json
import time
import uuid

import pytest
import uamqp
from azure.core.credentials import AccessToken
from azure.iot.hub import IoTHubRegistryManager
from azure.iot.hub.iothub_amqp_client import IoTHubAmqpClientSharedAccessKeyAuth as AmqpClient
from uamqp import TransportType

from support import sas
from support.hubd import AMQPS_PORT, HTTPS_PORT
from support.waiting import Inbox, eventually

TRANSPORTS = {"tls": TransportType.Amqp, "ws": TransportType.AmqpOverWebsocket}


@pytest.fixture(autouse=True)
def trust(hub, monkeypatch):
    """uamqp knows only its standard ports, and takes what it trusts from the environment."""
    if hub.amqps[1] != AMQPS_PORT:
        pytest.skip(f"port {AMQPS_PORT} cannot be bound, and uamqp knows no other")
    monkeypatch.setenv("SSL_CERT_FILE", hub.ca_file)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", hub.ca_file)


def owner(hub):
    parts = sas.parse_connection_string(hub.service_connection_string)
    return parts["HostName"], parts["SharedAccessKeyName"], parts["SharedAccessKey"]


@pytest.fixture(params=TRANSPORTS)
def sender(request, hub):
    if request.param == "ws" and hub.https[1] != HTTPS_PORT:
        pytest.skip(f"port {HTTPS_PORT} cannot be bound, and uamqp knows no other")
    client = AmqpClient(*owner(hub), transport_type=TRANSPORTS[request.param])
    yield client
    client.disconnect_sync()


def listening(fleet, device):
    client = fleet.client(device)
    inbox = Inbox("message")
    client.on_message_received = inbox
    return inbox


def test_messages_reach_the_device(hub, fleet, sender):
    device = fleet.device()
    inbox = listening(fleet, device)
    fields = {
        "contentType": "application/json",
        "contentEncoding": "utf-8",
        "correlationId": "c-1",
        "messageId": "m-1",
        "plain": "value",
    }
    sender.send_message_to_device(device.device, "тело", fields)
    message = inbox.next()
    assert message.data.decode() == "тело"
    assert (message.message_id, message.correlation_id) == ("m-1", "c-1")
    assert message.content_type == "application/json"
    assert message.custom_properties["plain"] == "value"
    for number in range(5):
        sender.send_message_to_device(device.device, f"message {number}", {})
    assert [inbox.next().data.decode() for _ in range(5)] == [f"message {n}" for n in range(5)]


def test_the_stock_registry_manager_sends(hub, fleet, manager):
    device = fleet.device()
    inbox = listening(fleet, device)
    manager.send_c2d_message(device.device, "hello", {"a": "b"})
    message = inbox.next()
    assert (message.data, message.custom_properties["a"]) == (b"hello", "b")
    manager.amqp_svc_client.disconnect_sync()


def test_ids_with_odd_characters(hub, fleet, sender):
    for odd in ("%23x", "#y", "+z", "(1)"):
        name = f"odd-{uuid.uuid4().hex[:8]}{odd}"
        hub.rest.put_identity(name)
        sender.send_message_to_device(name, "hello", {})
        eventually(lambda name=name: depth(hub, name) == 1, f"the message for {name}")


def depth(hub, device):
    return hub.api.send(device, b"count")["depth"] - 1


def test_what_cannot_be_sent_is_refused(hub, fleet, sender):
    with pytest.raises(Exception, match="failure"):
        sender.send_message_to_device("nobody", "hello", {})
    device = fleet.device().device
    past = int(time.time() * 1000) - 1000
    with pytest.raises(Exception, match="failure"):
        sender.send_message_to_device(device, "hello", {"expiryTimeUtc": past})
    for _ in range(50):
        sender.send_message_to_device(device, "hello", {})
    with pytest.raises(Exception, match="failure"):
        sender.send_message_to_device(device, "one too many", {})
    # Its link goes on.
    sender.send_message_to_device(fleet.device().device, "hello", {})


def feedback_receiver(hub):
    host, policy, key = owner(hub)

    def token():
        text = sas.token(host, key, policy)
        return AccessToken(text, int(time.time()) + 3600)

    auth = uamqp.authentication.JWTTokenAuth(
        audience=f"https://{host}",
        uri=f"https://{host}",
        get_token=token,
        token_type=b"servicebus.windows.net:sastoken",
    )
    auth.update_token()
    source = f"amqps://{host}/messages/serviceBound/feedback"
    return uamqp.ReceiveClient(source, auth=auth, prefetch=10, timeout=5000)


def records(client, seconds=30):
    """The next batch of feedback: the message and its records."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        for message in client.receive_message_batch(max_batch_size=1, timeout=1000):
            return message, json.loads(b"".join(message.get_data()))
    raise AssertionError("no feedback")


def test_feedback(hub):
    hub.rest.put_identity("told")
    hub.api.send("told", b"hello", message_id="m-1", ack="full", expiry=soon())
    client = feedback_receiver(hub)
    try:
        # Other tests of this file ask for none, but a batch may hold more than this record.
        while True:
            message, found = records(client, 60)
            message.accept()
            mine = [record for record in found if record["deviceId"] == "told"]
            if mine:
                break
        assert message.properties.content_type == b"application/vnd.microsoft.iothub.feedback.json"
        assert message.properties.user_id == hub.host_name.encode()
        assert b"iothub-enqueuedtime" in message.annotations
        assert (mine[0]["originalMessageId"], mine[0]["statusCode"]) == ("m-1", "Expired")
    finally:
        client.close()


def soon():
    at = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1)
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_wrong_key_and_a_policy_without_the_right_are_refused(hub, fleet):
    host, policy, key = owner(hub)
    device = fleet.device().device
    registry = sas.parse_connection_string(hub.policies["registryRead"])["SharedAccessKey"]
    for bad in ((host, policy, "A" * 43 + "="), (host, "registryRead", registry)):
        with pytest.raises(Exception):
            AmqpClient(*bad).send_message_to_device(device, "hello", {})
    service = sas.parse_connection_string(hub.policies["service"])["SharedAccessKey"]
    good = AmqpClient(host, "service", service)
    good.send_message_to_device(device, "hello", {})
    good.disconnect_sync()


def test_a_manager_with_a_port_in_its_host_name(hub, fleet):
    text = hub.service_connection_string.replace(
        hub.host_name, f"{hub.host_name}:{hub.https[1]}", 1
    )
    manager = IoTHubRegistryManager.from_connection_string(text)
    manager.send_c2d_message(fleet.device().device, "hello")
    manager.amqp_svc_client.disconnect_sync()
