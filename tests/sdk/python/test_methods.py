"""Direct methods, called over REST and answered by the stock SDK."""

import concurrent.futures

import pytest
from azure.iot.device import MethodResponse

from support.fleet import Fleet
from support.rest import describe
from support.waiting import Inbox, eventually

PAYLOADS = [
    None,
    "",
    "foo",
    {},
    {"k1": "v1"},
    {"a": {"b": [1, 2.5, None, True]}},
    [],
    0,
    "é 漢字 🚀",
]


def serve(client, answer=lambda request: (200, request.payload)):
    """Answers every request with what `answer` gives; the inbox shows the requests."""
    inbox = Inbox("method request")

    def handle(request):
        inbox(request)
        status, payload = answer(request)
        response = MethodResponse.create_from_method_request(request, status, payload)
        client.send_method_response(response)

    client.on_method_request_received = handle
    return inbox


def result(answer):
    assert answer.status_code == 200, describe(answer)
    return answer.json()


def test_on_every_link(hub, fleet, identity, transport):
    client = fleet.client(identity, **transport)
    inbox = serve(client, lambda request: (299, {"saw": request.payload}))
    answer = hub.rest.invoke(**identity.place, name="do-it", payload={"x": 1})
    assert result(answer) == {"status": 299, "payload": {"saw": {"x": 1}}}
    request = inbox.next()
    assert (request.name, request.payload) == ("do-it", {"x": 1})


@pytest.fixture(scope="module")
def echo(hub, tmp_path_factory):
    """A device that gives back what it gets; shared, because nothing of it is changed."""
    fleet = Fleet(hub, tmp_path_factory.mktemp("echo"))
    device = fleet.device()
    inbox = serve(fleet.client(device))
    yield device.device, inbox
    fleet.close()


@pytest.mark.parametrize("payload", PAYLOADS, ids=repr)
def test_payload_goes_there_and_back(hub, echo, payload):
    device, inbox = echo
    assert result(hub.rest.invoke(device, "echo", payload=payload)) == {
        "status": 200,
        "payload": payload,
    }
    assert inbox.next().payload == payload


def test_no_payload_at_all(hub, echo):
    device, inbox = echo
    assert result(hub.rest.invoke(device, "echo")) == {"status": 200, "payload": None}
    assert inbox.next().payload is None


def test_large_payload_both_ways(hub, echo):
    device, inbox = echo
    payload = {"data": "x" * 100_000}
    assert result(hub.rest.invoke(device, "echo", payload=payload))["payload"] == payload
    assert inbox.next().payload == payload


@pytest.mark.parametrize(
    "name",
    [
        "a",
        "getMaxMinReport",
        "thermostat1*get",
        "a.b-c_d",
        "50%",
        "x+y",
        "a&b",
        "a#b",
        "it's",
        "M" * 100,
    ],
)
def test_method_names(hub, echo, name):
    device, inbox = echo
    result(hub.rest.invoke(device, name))
    assert inbox.next().name == name


@pytest.mark.parametrize("status", [0, 1, 200, 299, 404, 500, 100000])
def test_any_status_of_the_device_is_a_success(hub, fleet, status):
    device = fleet.device()
    serve(fleet.client(device), lambda request: (status, None))
    assert result(hub.rest.invoke(device.device, "x")) == {"status": status, "payload": None}


def test_request_ids_count_in_hexadecimal(hub, fleet):
    """Clients have broken at the step from 9 to a: nothing here may."""
    device = fleet.device()
    inbox = serve(fleet.client(device))
    for number in range(1, 21):
        payload = {"number": number}
        assert result(hub.rest.invoke(device.device, "x", payload=payload))["payload"] == payload
        assert inbox.next().request_id == f"{number:x}"


def test_parallel_calls_get_their_own_answers(hub, fleet):
    device = fleet.device()
    client = fleet.client(device)
    requests = Inbox("method request")
    client.on_method_request_received = requests
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        calls = [
            pool.submit(hub.rest.invoke, device.device, "x", payload=number) for number in range(12)
        ]
        for request in reversed(requests.take(12)):
            response = MethodResponse.create_from_method_request(request, 200, -request.payload)
            client.send_method_response(response)
        answers = [result(call.result(20))["payload"] for call in calls]
    assert answers == [-number for number in range(12)]


def refused(answer, status, name):
    assert answer.status_code == status, describe(answer)
    assert answer.headers["iothub-errorcode"] == name


def test_unknown_device(hub):
    refused(hub.rest.invoke("no-such-device", "x"), 404, "DeviceNotFound")


def test_device_that_is_offline(hub, fleet):
    refused(hub.rest.invoke(fleet.device().device, "x"), 404, "DeviceNotOnline")


def test_device_without_a_handler(hub, fleet):
    device = fleet.device()
    fleet.client(device).get_twin()
    refused(hub.rest.invoke(device.device, "x"), 404, "DeviceNotOnline")


def test_device_that_left(hub, fleet):
    device = fleet.device()
    client = fleet.client(device)
    serve(client)
    result(hub.rest.invoke(device.device, "x"))
    client.disconnect()
    eventually(
        lambda: hub.rest.invoke(device.device, "x").status_code == 404, "the hub seeing it leave"
    )
    refused(hub.rest.invoke(device.device, "x"), 404, "DeviceNotOnline")


def test_no_answer_in_time(hub, fleet):
    device = fleet.device()
    client = fleet.client(device)
    inbox = Inbox("method request")
    client.on_method_request_received = inbox
    answer = hub.rest.invoke(device.device, "slow", response_timeout=5)
    refused(answer, 504, "GatewayTimeout")
    assert 4 < answer.elapsed.total_seconds() < 6
    # The answer that comes too late harms nobody.
    late = inbox.next()
    client.send_method_response(MethodResponse.create_from_method_request(late, 200, "late"))
    serve(client)
    assert result(hub.rest.invoke(device.device, "x", payload=1))["payload"] == 1


def test_connection_lost_while_handling(hub, fleet, relay):
    device = fleet.device()
    client = fleet.client(device, relay, connection_retry=False)
    inbox = Inbox("method request")
    client.on_method_request_received = inbox
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(hub.rest.invoke, device.device, "x", response_timeout=5)
        inbox.next()
        relay.refuse()
        assert call.result(15).status_code in (404, 504)


def test_waiting_for_the_device_to_come(hub, fleet):
    device = fleet.device()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(hub.rest.invoke, device.device, "x", connect_timeout=20, payload=7)
        client = fleet.client(device)
        assert not call.done(), "connected, but not subscribed to methods"
        serve(client)
        assert result(call.result(20)) == {"status": 200, "payload": 7}


def test_waiting_in_vain(hub, fleet):
    answer = hub.rest.invoke(fleet.device().device, "x", connect_timeout=2)
    refused(answer, 404, "DeviceNotOnline")
    assert answer.elapsed.total_seconds() > 1.5


@pytest.mark.parametrize(
    "timeouts",
    [{"response_timeout": 4}, {"response_timeout": 301}, {"connect_timeout": 301}],
    ids=str,
)
def test_timeouts_out_of_range(hub, echo, timeouts):
    answer = hub.rest.invoke(echo[0], "x", **timeouts)
    refused(answer, 400, "ArgumentInvalid")


def test_device_and_module_are_apart(hub, fleet):
    module = fleet.device(module="m1")
    inbox = serve(fleet.client(module))
    refused(hub.rest.invoke(module.device, "x"), 404, "DeviceNotOnline")
    result(hub.rest.invoke(module.device, "x", module="m1"))
    assert inbox.next().name == "x"
