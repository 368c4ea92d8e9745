"""Reading the event log over the hub's own HTTP route."""

import datetime
import threading

import pytest
from azure.iot.device import Message

from support.waiting import Inbox, eventually


@pytest.fixture
def partition(hub, fleet):
    """A partition with five events of one device; gives the events."""
    device = fleet.device()
    reader = hub.api.reader()
    client = fleet.client(device)
    for number in range(5):
        client.send_message(Message(str(number), message_id=f"id-{number}"))
    return reader.wait_for(device.device, 5)


def bodies(events, device):
    return [event.body for event in events if event.device == device]


def test_every_partition_can_be_read(hub):
    partitions = hub.api.partitions()
    assert partitions == [str(number) for number in range(4)]
    for each in partitions:
        events, position = hub.api.read(each, "earliest")
        assert isinstance(events, list) and isinstance(position, int)


def test_start_at_a_sequence_number(hub, partition):
    second = partition[1]
    events, _ = hub.api.read(second.partition, f"sequence:{second.sequence_number}")
    assert events[0].sequence_number == second.sequence_number
    assert bodies(events, second.device) == [b"1", b"2", b"3", b"4"]


def test_start_at_the_earliest(hub, partition):
    device = partition[0].device
    events, position = hub.api.read(partition[0].partition, "earliest", 100000)
    assert bodies(events, device) == [b"0", b"1", b"2", b"3", b"4"]
    assert position > partition[4].sequence_number


def test_start_at_the_latest_shows_only_what_comes(hub, fleet, partition):
    events, position = hub.api.read(partition[0].partition, "latest")
    assert events == []
    assert position > partition[4].sequence_number


def test_start_at_a_time(hub, fleet, partition):
    device = partition[0].device
    hour = datetime.timedelta(hours=1)
    now = datetime.datetime.now(datetime.timezone.utc)
    past, future = [(now + step).strftime("time:%Y-%m-%dT%H:%M:%SZ") for step in (-hour, hour)]
    events, _ = hub.api.read(partition[0].partition, past, 100000)
    assert bodies(events, device) == [b"0", b"1", b"2", b"3", b"4"]
    events, _ = hub.api.read(partition[0].partition, future)
    assert events == []


def test_pages_join_without_gap_or_repeat(hub, partition):
    position, seen = partition[0].sequence_number, []
    for _ in range(3):
        events, position = hub.api.read(partition[0].partition, f"sequence:{position}", 2)
        assert len(events) <= 2
        seen += events
    assert bodies(seen, partition[0].device) == [b"0", b"1", b"2", b"3", b"4"]


def test_consumer_groups_do_not_take_from_each_other(hub, partition):
    start = f"sequence:{partition[0].sequence_number}"
    first, _ = hub.api.read(partition[0].partition, start)
    second, _ = hub.api.read(partition[0].partition, start)
    assert bodies(first, partition[0].device) == bodies(second, partition[0].device) != []


def test_live_stream(hub, fleet):
    device = fleet.device()
    client = fleet.client(device)
    reader = hub.api.reader()
    client.send_message("which partition is mine?")
    where = reader.one(device.device)
    arrived = Inbox("streamed event")

    def follow():
        for event in hub.api.stream(where.partition, f"sequence:{where.sequence_number}"):
            arrived(event)
            if event.body == b"last":
                return

    follower = threading.Thread(target=follow, daemon=True)
    follower.start()
    assert arrived.next().body == b"which partition is mine?"
    client.send_message("live")
    assert arrived.next().body == b"live"
    client.send_message("last")
    assert arrived.next().body == b"last"
    eventually(lambda: not follower.is_alive(), "end of the stream")


def test_refusals(hub):
    assert hub.api.try_read("no-such-partition", "earliest").status_code in (400, 404)
    assert hub.api.try_read("0", "somewhere").status_code == 400
    path = "/messages/events/ConsumerGroups/%24Default/Partitions/0"
    nobody = hub.rest.request("GET", path, headers={"Authorization": ""})
    assert nobody.status_code == 401


@pytest.mark.parametrize("policy", ["device", "registryRead", "registryReadWrite"])
def test_reading_needs_the_right_to_connect_as_a_service(hub, policy):
    rest = hub.rest.as_policy(hub.policies[policy])
    path = "/messages/events/ConsumerGroups/%24Default/Partitions/0"
    answer = rest.request("GET", path, query={"from": "earliest"})
    assert answer.status_code in (401, 403)
    service = hub.rest.as_policy(hub.policies["service"])
    answer = service.request("GET", path, query={"from": "earliest"})
    assert answer.status_code == 200
