"""The event log, read by the stock Event Hubs client."""

import asyncio
import datetime
import threading
import time

import pytest
from azure.core.credentials import AzureSasCredential
from azure.eventhub import EventHubConsumerClient, TransportType
from azure.eventhub.aio import EventHubConsumerClient as AsyncConsumer
from azure.eventhub.exceptions import EventHubError

from support import sas
from support.hubd import Hubd
from support.reading import GROUP, Collector, MemoryCheckpoints, options, reader
from support.relay import Forwarder
from support.waiting import eventually

TRANSPORTS = ["tls", "ws", "plain"]


def publish(fleet, count, prefix="event"):
    """A new device with events of its own; gives it and the bodies in order."""
    device = fleet.device()
    send(fleet, device, count, prefix)
    return device.device, [f"{prefix} {number}" for number in range(count)]


def send(fleet, device, count, prefix="event"):
    client = fleet.client(device)
    for number in range(count):
        client.send_message(f"{prefix} {number}")
    # A second client of the device would throw this one out, which would come back and do the same.
    client.disconnect()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_the_log_and_its_partitions_are_described(hub, fleet, transport):
    publish(fleet, 3)
    with reader(hub, transport) as client:
        properties = client.get_eventhub_properties()
        assert properties["eventhub_name"] == hub.host_name
        assert properties["partition_ids"] == hub.api.partitions()
        for partition in properties["partition_ids"]:
            found = client.get_partition_properties(partition)
            events, _ = hub.api.read(partition, "earliest", 1000)
            assert found["is_empty"] == (not events)
            if events:
                assert found["beginning_sequence_number"] == events[0].sequence_number
                assert found["last_enqueued_sequence_number"] == events[-1].sequence_number
                assert found["last_enqueued_offset"] == events[-1].offset
                last = found["last_enqueued_time_utc"]
                assert abs(instant(events[-1].enqueued_time) - last) < datetime.timedelta(seconds=1)


def instant(text):
    return datetime.datetime.fromisoformat(text[:23] + "+00:00")


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_an_event_arrives_as_the_log_has_it(hub, fleet, transport):
    from azure.iot.device import Message

    device = fleet.device()
    message = Message("тело", "m-1", "utf-8", "application/json")
    message.correlation_id = "c-1"
    message.custom_properties = {"plain": "value", "odd": "a&b=c 100%"}
    fleet.client(device).send_message(message)
    own = eventually(lambda: of(hub, device.device), "the event")[0]
    with Collector(reader(hub, transport)) as collector:
        eventually(lambda: collector.bodies(device.device), "the event")
        partition, event = next(
            (partition, event)
            for partition, event in collector.events
            if event.system_properties[b"iothub-connection-device-id"] == device.device.encode()
        )
    assert event.body_as_str() == "тело"
    assert (event.message_id, event.correlation_id) == ("m-1", "c-1")
    assert event.content_type == "application/json"
    assert event.properties == {b"plain": b"value", b"odd": b"a&b=c 100%"}
    assert partition == own.partition
    assert (event.sequence_number, event.offset) == (own.sequence_number, own.offset)
    assert event.enqueued_time == instant(own.enqueued_time)
    system = event.system_properties
    assert system[b"iothub-message-source"] == b"Telemetry"
    for name in ("iothub-connection-auth-method", "iothub-connection-auth-generation-id"):
        assert system[name.encode()].decode() == own.system[name]
    for name in (b"iothub-enqueuedtime", b"x-opt-enqueued-time", b"x-opt-sequence-number"):
        assert isinstance(system[name], int)
    assert system[b"x-opt-offset"] == own.offset.encode()


def of(hub, device):
    """The log's events of a device."""
    return [
        event
        for partition in hub.api.partitions()
        for event in hub.api.read(partition, "earliest", 1000)[0]
        if event.device == device
    ]


def test_an_event_without_properties_has_no_section_of_them(hub, fleet):
    device, bodies = publish(fleet, 1)
    with Collector(reader(hub)) as collector:
        collector.wait_for(device, bodies)
        event = next(
            event for _, event in collector.events if event.body_as_str() == bodies[0]
            and event.system_properties[b"iothub-connection-device-id"] == device.encode()
        )
    assert event.raw_amqp_message.properties is None or not any(
        value for value in event.raw_amqp_message.properties.values()
    )
    assert not event.properties


def test_every_position(hub, fleet):
    device, bodies = publish(fleet, 5)
    events = eventually(lambda: len(of(hub, device)) == 5 and of(hub, device), "the events")
    third = events[2]
    partition = third.partition

    def read(position, inclusive=False, **more):
        client = reader(hub)
        start = {"starting_position": position, "starting_position_inclusive": inclusive}
        with Collector(client, partition_id=partition, **start) as collector:
            eventually(lambda: bodies[4] in collector.bodies(device), "the last event")
            return collector.bodies(device)

    assert read("-1") == bodies
    assert read(third.offset) == bodies[3:]
    assert read(third.offset, True) == bodies[2:]
    assert read(third.sequence_number) == bodies[3:]
    assert read(third.sequence_number, True) == bodies[2:]
    at = instant(events[0].enqueued_time)
    assert read(at, True) == bodies
    assert read(at - datetime.timedelta(hours=1)) == bodies


def test_the_latest_position_sees_only_what_comes_later(hub, fleet):
    device = fleet.device()
    client = fleet.client(device)
    client.send_message("before")
    with Collector(reader(hub), starting_position="@latest") as collector:
        # Until its links are there nothing is "later".
        eventually(lambda: len(collector.partitions) == len(hub.api.partitions()), "readers")
        time.sleep(3)
        client.send_message("after")
        collector.wait_for(device.device, ["after"])


def test_batches(hub, fleet):
    device, bodies = publish(fleet, 40)
    client = reader(hub)
    sizes = []

    def take(context, events):
        sizes.append(len(events))
        got.extend(each.body_as_str() for each in events if own(each))

    def own(event):
        return event.system_properties[b"iothub-connection-device-id"] == device.encode()

    got = []
    run = threading.Thread(
        target=lambda: client.receive_batch(
            take, max_batch_size=10, max_wait_time=1, starting_position="-1"
        ),
        daemon=True,
    )
    run.start()
    eventually(lambda: len(got) >= len(bodies), "the events", 20)
    client.close()
    run.join(10)
    assert got == bodies and max(sizes) <= 10


@pytest.mark.parametrize("transport", ["tls", "ws"])
def test_coroutines(hub, fleet, transport):
    device, bodies = publish(fleet, 10)

    async def run():
        text, found = options(hub, transport)
        client = AsyncConsumer.from_connection_string(text, consumer_group=GROUP, **found)
        got = []
        done = asyncio.Event()

        async def take(context, event):
            if event.system_properties[b"iothub-connection-device-id"] == device.encode():
                got.append(event.body_as_str())
                if len(got) == len(bodies):
                    done.set()

        async with client:
            properties = await client.get_eventhub_properties()
            receiving = asyncio.create_task(client.receive(take, starting_position="-1"))
            await asyncio.wait_for(done.wait(), 20)
        receiving.cancel()
        return properties, got

    properties, got = asyncio.run(run())
    assert got == bodies
    assert properties["partition_ids"] == hub.api.partitions()


def test_two_consumer_groups_both_read_everything(hub, fleet):
    device, bodies = publish(fleet, 5)
    with Collector(reader(hub)) as one, Collector(reader(hub, group="other")) as other:
        one.wait_for(device, bodies)
        other.wait_for(device, bodies)


def test_a_checkpoint_is_where_the_next_reader_begins(hub, fleet):
    device = fleet.device()
    send(fleet, device, 5, "first")
    # Who claims a partition and comes too late for it waits for the next round of claims.
    kept = {"checkpoint_store": MemoryCheckpoints(), "load_balancing_interval": 1}
    with Collector(reader(hub, **kept)) as collector:
        collector.wait_for(device.device, [f"first {number}" for number in range(5)])
    send(fleet, device, 5, "second")
    with Collector(reader(hub, **kept)) as collector:
        collector.wait_for(device.device, [f"second {number}" for number in range(5)])


def test_two_clients_share_the_partitions(hub, fleet):
    store = MemoryCheckpoints()
    balanced = {"checkpoint_store": store, "load_balancing_interval": 1}
    with Collector(reader(hub, **balanced)) as one, Collector(reader(hub, **balanced)) as other:
        halves = lambda: len(one.partitions) == len(other.partitions) == 2  # noqa: E731
        eventually(halves, "half of the partitions each", 40)
        assert not one.partitions & other.partitions
        device, bodies = publish(fleet, 5)
        both = lambda: one.bodies(device) + other.bodies(device)  # noqa: E731
        eventually(lambda: sorted(both()) == bodies, "the events, once", 20)


def test_a_higher_owner_level_takes_the_partition(hub, fleet):
    device, bodies = publish(fleet, 2)
    with Collector(reader(hub), partition_id="0", owner_level=1) as low:
        eventually(lambda: "0" in low.partitions, "the reader")
        time.sleep(2)
        with Collector(reader(hub), partition_id="0", owner_level=2) as high:
            eventually(lambda: low.errors, "the end of the lower reader", 20)
            assert "stolen" in str(low.errors[0]).lower() or "epoch" in str(low.errors[0]).lower()
            assert not high.errors
            with Collector(reader(hub), partition_id="0") as plain:
                eventually(lambda: plain.errors, "the refusal of a reader without level", 20)


def test_a_sixth_reader_of_a_partition_waits_for_a_place(hub, fleet):
    """This SDK tries again without a word when it is refused for want of room."""
    device = fleet.device()
    client = fleet.client(device)
    client.send_message("hello")
    partition = eventually(lambda: of(hub, device.device), "the event")[0].partition
    crowd = {"partition_id": partition}
    readers = [Collector(reader(hub, group="crowd"), **crowd) for _ in range(5)]
    sixth = None
    try:
        for each in readers:
            each.wait_for(device.device, ["hello"])
        sixth = Collector(reader(hub, group="crowd"), **crowd)
        time.sleep(3)
        assert not sixth.bodies(device.device)
        readers.pop().close()
        sixth.wait_for(device.device, ["hello"])
    finally:
        for each in [*readers, *filter(None, [sixth])]:
            each.close()


def test_a_reader_comes_back_after_a_cut(hub, fleet):
    device = fleet.device()
    client = fleet.client(device)
    relay = Forwarder(hub.amqps)
    try:
        with Collector(reader(hub, address=relay.port)) as collector:
            client.send_message("one")
            collector.wait_for(device.device, ["one"])
            relay.drop()
            client.send_message("two")
            collector.wait_for(device.device, ["one", "two"], 40)
    finally:
        relay.close()


def refused(client):
    with client, pytest.raises(EventHubError) as caught:
        client.get_eventhub_properties()
    return caught.value


def test_wrong_keys_and_policies_without_the_right_are_refused(hub):
    text = hub.event_hub_connection_string
    key = text.partition("SharedAccessKey=")[2].partition(";")[0]
    wrong = reader(hub, text=text.replace(key, "A" * 43 + "="), retry_total=0)
    refused(wrong)
    device = hub.policies["device"].partition("SharedAccessKey=")[2]
    lacking = text.replace(key, device).replace("iothubowner", "device")
    refused(reader(hub, text=lacking, retry_total=0))
    service = hub.policies["service"].partition("SharedAccessKey=")[2]
    enough = text.replace(key, service).replace("iothubowner", "service")
    with reader(hub, text=enough) as client:
        assert client.get_partition_ids() == hub.api.partitions()


def test_tokens(hub):
    text, found = options(hub)
    parts = dict(each.split("=", 1) for each in text.split(";"))
    host = hub.host_name

    def client(seconds):
        key, policy = parts["SharedAccessKey"], parts["SharedAccessKeyName"]
        token = sas.token(f"sb://{host}/{host}", key, policy, seconds, text_key=True)
        credential = AzureSasCredential(token)
        amqp = {"transport_type": TransportType.Amqp, "retry_total": 0}
        return EventHubConsumerClient(host, host, GROUP, credential, **amqp, **found)

    with client(3600) as good:
        assert good.get_partition_ids() == hub.api.partitions()
    refused(client(-3600))


def test_a_policy_that_is_gone_lets_nobody_in(tmp_path):
    key = "bm90IHRoZSBrZXkgdGhhdCB3YXMgdGhlcmUgYmVmb3I="
    with Hubd(data_dir=tmp_path) as hub:
        before = hub.event_hub_connection_string
        with reader(hub) as client:
            client.get_partition_ids()
        hub.stop()
        hub.flags = ("--owner-key", key)
        hub.start()
        refused(reader(hub, text=before, retry_total=0))
        with reader(hub) as client:
            client.get_partition_ids()
