"""What devices other than the stock Python and Node SDKs put on the wire."""

import concurrent.futures
import json
import urllib.parse

import pytest

from support import sas
from support.raw import API, Raw
from support.waiting import eventually


@pytest.fixture
def raw(hub, fleet):
    """Makes bare connections, connected unless told otherwise."""
    made = []

    def make(identity, connect=True, **changes):
        each = Raw(hub, identity, **changes)
        made.append(each)
        if connect:
            assert each.connect()[0] == 0
        return each

    yield make
    for each in made:
        each.close()


def events(device):
    return f"devices/{device}/messages/events/"


@pytest.mark.parametrize("life, code", [(-3600, 5), (3600, 0), (360 * 24 * 3600, 0)])
def test_age_of_a_token(hub, fleet, raw, life, code):
    device = fleet.device()
    password = sas.token(f"{hub.host_name}/devices/{device.device}", device.key, ttl=life)
    assert raw(device, connect=False, password=password).connect()[0] == code


def spellings(host, device):
    """How SDKs of other languages write the same resource."""
    resource = f"{host}/devices/{device}"
    strict = sas.quote(resource)
    return {
        "upper-hex": strict,
        "lower-hex": strict.replace("%2F", "%2f"),
        "raw-slashes": f"{host}/devices/{sas.quote(device)}",
        "doubly-encoded": sas.quote(f"{host}/devices/{sas.quote(device)}"),
        "trailing-version": strict + sas.quote("/api-version=2016-11-14"),
    }


@pytest.mark.parametrize("spelling", spellings("", ""))
def test_spelling_of_the_token_resource(hub, fleet, raw, spelling):
    device = fleet.device(device=f"a@b-{fleet.device().device}")
    encoded = spellings(hub.host_name, device.device)[spelling]
    password = sas.token("", device.key, encoded=encoded)
    assert raw(device, connect=False, password=password).connect()[0] == 0


def test_token_for_another_device(hub, fleet, raw):
    device, other = fleet.device(), fleet.device()
    for resource in (
        f"{hub.host_name}/devices/{other.device}",
        f"elsewhere/devices/{device.device}",
    ):
        password = sas.token(resource, device.key)
        assert raw(device, connect=False, password=password).connect()[0] == 5


@pytest.mark.parametrize(
    "rest",
    ["", "/api-version=2016-11-14&DeviceClientType=x", "/?DeviceClientType=a%2Fb&api-version=2020-09-30",
     "/?api-version=2021-04-12&model-id=dtmi:com:example:Thermostat;1&DeviceClientType=c%2f1%20(x)"],
)  # fmt: skip
def test_spellings_of_the_user_name(hub, fleet, raw, rest):
    device = fleet.device()
    username = f"{hub.host_name}/{device.device}{rest}"
    assert raw(device, connect=False, username=username).connect()[0] == 0


def test_names_that_do_not_fit_together(hub, fleet, raw):
    device, other = fleet.device(), fleet.device()
    username = f"{hub.host_name}/{other.device}{API}"
    assert raw(device, connect=False, username=username).connect()[0] in (2, 4, 5)
    assert raw(device, connect=False, client_id=other.device).connect()[0] in (2, 4, 5)


def test_session_present(fleet, raw):
    device = fleet.device()
    first = raw(device, connect=False)
    assert first.connect() == (0, 0)
    first.subscribe(f"devices/{device.device}/messages/devicebound/#")
    first.close()
    second = raw(device, connect=False)
    assert second.connect() == (0, 1)
    second.close()
    clean = raw(device, connect=False, clean=True)
    assert clean.connect() == (0, 0)
    clean.close()
    assert raw(device, connect=False).connect() == (0, 0)


def test_delivery_without_subscribing_again(hub, fleet, raw):
    device = fleet.device()
    first = raw(device)
    first.subscribe(f"devices/{device.device}/messages/devicebound/#")
    first.close()
    hub.api.send(device.device, b"stored", message_id="m1", properties={"k": "v"})
    message = raw(device).messages.next()
    assert message.payload == b"stored"
    prefix = f"devices/{device.device}/messages/devicebound/"
    assert message.topic.startswith(prefix)
    bag = message.topic[len(prefix) :].split("&")
    assert "%24.mid=m1" in bag and "k=v" in bag
    (to,) = [each for each in bag if each.startswith("%24.to=")]
    wanted = f"/devices/{device.device}/messages/devicebound"
    assert urllib.parse.unquote(to[len("%24.to=") :]).lower() == wanted.lower()
    assert not [each for each in bag if "iothub-ack" in each], "only when it was asked for"


def test_bag_is_never_missing(hub, fleet, raw):
    device = fleet.device()
    connection = raw(device)
    connection.subscribe(f"devices/{device.device}/messages/devicebound/#")
    hub.api.send(device.device, b"bare")
    topic = connection.messages.next().topic
    assert f"devices/{device.device}/messages/devicebound/%24." in topic
    assert all("=" in each for each in topic.split("/")[-1].split("&"))


def test_grants(fleet, raw):
    device = fleet.device()
    connection = raw(device)
    assert connection.subscribe(f"devices/{device.device}/messages/devicebound/#", 2) == [1]
    assert connection.subscribe("devices/+/messages/devicebound/#", 1) == [1]
    assert connection.subscribe("$iothub/methods/POST/#", 0) == [0]
    assert connection.subscribe("$iothub/twin/res/#", 1) == [1]
    assert connection.subscribe("$iothub/twin/PATCH/properties/desired/#", 0) == [0]


def test_not_the_topics_of_others(fleet, raw):
    device, other = fleet.device(), fleet.device()
    connection = raw(device, clean=True)
    connection.publish_unacknowledged(events(other.device), b"forged")
    assert connection.is_cut()
    eavesdropper = raw(device, clean=True)
    eavesdropper.client.subscribe(f"devices/{other.device}/messages/devicebound/#", 1)

    def refused():
        try:
            return eavesdropper.closed.is_set() or eavesdropper.subacks.next(0.1) == (128,)
        except AssertionError:
            return False

    eventually(refused, "refusal of the filter, or the end of the connection")


def test_exactly_once_is_not_offered(fleet, raw):
    device = fleet.device()
    connection = raw(device, clean=True)
    connection.publish_unacknowledged(events(device.device), b"x", qos=2)
    assert connection.is_cut()


def test_oversized_message_ends_the_connection(hub, fleet, raw):
    device = fleet.device()
    reader = hub.api.reader()
    connection = raw(device, clean=True)
    connection.publish_unacknowledged(events(device.device), bytes(262144 + 1))
    assert connection.is_cut()
    raw(device, clean=True).publish(events(device.device), bytes(262144))
    assert len(reader.one(device.device).body) == 262144


BAGS = {
    "a=b": ({"a": "b"}, {}),
    "a=b/": ({"a": "b"}, {}),
    "?a=b": ({"a": "b"}, {}),
    "alone": ({"alone": ""}, {}),
    "a=1%2B1&c=x%20y": ({"a": "1+1", "c": "x y"}, {}),
    "$.mid=m1&$.ct=text%2Fplain": ({}, {"message-id": "m1", "content-type": "text/plain"}),
    "%24.mid=m1&%24.sub=thermostat1": ({}, {"message-id": "m1", "dt-subject": "thermostat1"}),
    "%24.ctime=2030-01-01T00%3A00%3A00Z": (
        {},
        {"iothub-creation-time-utc": "2030-01-01T00:00:00Z"},
    ),
}


@pytest.mark.parametrize("bag", BAGS)
def test_property_bags(hub, fleet, raw, bag):
    device = fleet.device()
    reader = hub.api.reader()
    raw(device).publish(events(device.device) + bag, b"x")
    event = reader.one(device.device)
    properties, system = BAGS[bag]
    assert event.properties == properties
    assert {name: event.system.get(name) for name in system} == system


def test_topic_without_a_slash_at_the_end(hub, fleet, raw):
    device = fleet.device()
    reader = hub.api.reader()
    raw(device).publish(f"devices/{device.device}/messages/events", b"x")
    assert reader.one(device.device).properties == {}


def test_retained_message_is_marked(hub, fleet, raw):
    device = fleet.device()
    reader = hub.api.reader()
    raw(device).publish(events(device.device), b"x", retain=True)
    assert reader.one(device.device).properties == {"mqtt-retain": "true"}


def test_will(hub, fleet, raw):
    device = fleet.device()
    reader = hub.api.reader()
    polite = raw(device, will=events(device.device) + "a=b", clean=True)
    polite.close()
    abrupt = raw(device, will=events(device.device) + "c=d", clean=True)
    abrupt.vanish()
    event = reader.one(device.device)
    assert event.body == b"gone"
    assert event.properties == {"c": "d", "iothub-MessageType": "Will"}


def test_conditional_report(fleet, raw):
    """Java names the version that its patch is based on."""
    device = fleet.device()
    connection = raw(device)
    connection.subscribe("$iothub/twin/res/#")
    topic = "$iothub/twin/PATCH/properties/reported/?$rid={}&$version={}"
    connection.publish(topic.format("r1", 1), b'{"a":1}')
    assert connection.messages.next().topic == "$iothub/twin/res/204/?$rid=r1&$version=2"
    connection.publish(topic.format("r2", 1), b'{"a":2}')
    stale = connection.messages.next()
    assert stale.topic.startswith("$iothub/twin/res/412/?$rid=r2")


def test_error_body_of_a_twin_request(fleet, raw):
    """Node recognises an error by this body alone."""
    device = fleet.device()
    connection = raw(device)
    connection.subscribe("$iothub/twin/res/#")
    connection.publish("$iothub/twin/PATCH/properties/reported/?$rid=r1", b'{"a.b":1}')
    answer = connection.messages.next()
    assert answer.topic.startswith("$iothub/twin/res/400/?$rid=r1")
    body = json.loads(answer.payload)
    assert body["errorCode"] // 1000 == 400
    assert body["message"]
    connection.publish("$iothub/twin/PATCH/properties/reported/?$rid=r2", b"{broken")
    assert connection.messages.next().topic.startswith("$iothub/twin/res/400/?$rid=r2")


def test_method_request_always_has_a_body(hub, fleet, raw):
    """Node answers 400 by itself when the body is empty."""
    device = fleet.device()
    connection = raw(device)
    connection.subscribe("$iothub/methods/POST/#", 0)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(hub.rest.invoke, device.device, "doit")
        request = connection.messages.next()
        assert (request.topic, request.payload) == ("$iothub/methods/POST/doit/?$rid=1", b"null")
        connection.publish("$iothub/methods/res/200/?$rid=ffff", b'"for nobody"', qos=0)
        connection.publish("$iothub/methods/res/200/?$rid=1", b"", qos=0)
        assert call.result(10).json() == {"status": 200, "payload": None}
