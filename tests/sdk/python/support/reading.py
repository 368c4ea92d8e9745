"""Readers of the event log: the stock Event Hubs client, led to the hub under test."""

import contextlib
import threading

from azure.eventhub import CheckpointStore, EventHubConsumerClient, TransportType

from .waiting import eventually

GROUP = "$Default"


def options(hub, transport="tls", address=None):
    """The connection string and the client's options, for a transport."""
    text = hub.event_hub_connection_string
    if transport == "plain":
        host, _, rest = text.removeprefix("Endpoint=sb://").partition("/")
        host = f"{host.partition(':')[0]}:{hub.amqp[1]}"
        return f"Endpoint=sb://{host}/{rest};UseDevelopmentEmulator=true", {}
    port = {"tls": hub.amqps, "ws": hub.https}[transport][1] if address is None else address
    found = {
        "connection_verify": hub.ca_file,
        "custom_endpoint_address": f"sb://{hub.host_name}:{port}",
        "retry_backoff_factor": 0.1,
        "retry_backoff_max": 1,
    }
    if transport == "ws":
        found["transport_type"] = TransportType.AmqpOverWebsocket
    return text, found


def reader(hub, transport="tls", group=GROUP, address=None, text=None, **more):
    standard, found = options(hub, transport, address)
    return EventHubConsumerClient.from_connection_string(
        text or standard, consumer_group=group, **found, **more
    )


class Collector:
    """What a reader has received, and the thread that receives it."""

    def __init__(self, client, starting_position="-1", **more):
        self.client = client
        self.events = []
        self.errors = []
        self.partitions = set()
        self.ready = threading.Event()
        more = {"starting_position": starting_position, **more}
        self.thread = threading.Thread(target=self._run, kwargs=more, daemon=True)
        self.thread.start()

    def _run(self, **more):
        batch = more.pop("on_event_batch", None)
        handlers = {"on_event_batch": self._batch} if batch else {"on_event": self._event}
        with contextlib.suppress(Exception):
            self.client.receive(
                on_error=lambda context, error: self.errors.append(error),
                on_partition_initialize=lambda context: self.partitions.add(context.partition_id),
                on_partition_close=lambda context, why: self.partitions.discard(
                    context.partition_id
                ),
                **handlers,
                **more,
            )

    def _event(self, context, event):
        self._batch(context, [event])

    def _batch(self, context, events):
        for event in events:
            self.events.append((context.partition_id, event))
            context.update_checkpoint(event)

    def bodies(self, device):
        """What it has received of a device, in order."""
        return [
            event.body_as_str()
            for _, event in list(self.events)
            if event.system_properties[b"iothub-connection-device-id"] == device.encode()
        ]

    def wait_for(self, device, bodies, seconds=60):
        eventually(
            lambda: len(self.bodies(device)) >= len(bodies), f"{len(bodies)} events", seconds
        )
        assert self.bodies(device) == bodies

    def close(self):
        with contextlib.suppress(Exception):
            self.client.close()
        self.thread.join(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class MemoryCheckpoints(CheckpointStore):
    """A checkpoint store in this process, as the SDK describes one."""

    def __init__(self):
        self.lock = threading.Lock()
        self.ownership = {}
        self.checkpoints = {}
        self.turn = 0

    @staticmethod
    def _key(entry):
        return entry["consumer_group"].lower(), entry["partition_id"]

    def list_ownership(self, fully_qualified_namespace, eventhub_name, consumer_group, **_):
        with self.lock:
            return [dict(each) for each in self.ownership.values()]

    def claim_ownership(self, ownership_list, **_):
        import time

        claimed = []
        with self.lock:
            for wanted in ownership_list:
                held = self.ownership.get(self._key(wanted))
                if held and held["etag"] != wanted.get("etag"):
                    continue
                self.turn += 1
                taken = {**wanted, "etag": str(self.turn), "last_modified_time": time.time()}
                self.ownership[self._key(wanted)] = taken
                claimed.append(dict(taken))
        return claimed

    def update_checkpoint(self, checkpoint, **_):
        with self.lock:
            self.checkpoints[self._key(checkpoint)] = dict(checkpoint)

    def list_checkpoints(self, fully_qualified_namespace, eventhub_name, consumer_group, **_):
        with self.lock:
            return [
                dict(each)
                for (group, _), each in self.checkpoints.items()
                if group == consumer_group.lower()
            ]
