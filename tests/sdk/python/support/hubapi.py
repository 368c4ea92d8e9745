"""The hub's own HTTP routes: sending to devices, feedback, files, and reading the event log.

They are the hub's, not Azure's. Every test goes through this module, so that a change of a route or
of a field is one edit here.
"""

import base64
import json
import time

from .rest import describe, identity_path, twin_path

EVENTS = "/messages/events"
FEEDBACK = "/messages/serviceBound/feedback"
FILES = "/messages/serviceBound/fileNotifications"
GROUP = "%24Default"

# Names of a message's own fields, as the send route's headers spell them.
SEND_HEADERS = {
    "message_id": "iothub-messageid",
    "correlation_id": "iothub-correlationid",
    "user_id": "iothub-userid",
    "expiry": "iothub-expiry",
    "ack": "iothub-ack",
    "content_type": "iothub-contenttype",
    "content_encoding": "iothub-contentencoding",
}


class HubApi:
    def __init__(self, rest):
        self.rest = rest

    # Cloud to device

    def try_send(self, device, body=b"", module=None, properties=None, **fields):
        """Sends a message; gives the HTTP answer, whatever its status."""
        headers = {SEND_HEADERS[name]: value for name, value in fields.items()}
        for name, value in (properties or {}).items():
            headers[f"iothub-app-{name}"] = value
        path = identity_path(device, module) + "/messages/deviceBound"
        return self.rest.request("POST", path, data=body, headers=headers)

    def send(self, device, body=b"", module=None, properties=None, **fields):
        """Sends a message; gives `messageId`, `sequenceNumber` and `depth`."""
        answer = self.try_send(device, body, module, properties, **fields)
        assert answer.status_code == 201, f"sending to {device}: {describe(answer)}"
        return answer.json()

    def receive_feedback(self):
        """One batch of feedback as (lock token, records), or None when there is none."""
        answer = self.rest.request("GET", FEEDBACK)
        if answer.status_code == 204:
            return None
        assert answer.status_code == 200, describe(answer)
        return answer.headers["ETag"].strip('"'), answer.json()

    def complete_feedback(self, token):
        self.rest.expect(204, "DELETE", f"{FEEDBACK}/{token}")

    def abandon_feedback(self, token):
        self.rest.expect(204, "POST", f"{FEEDBACK}/{token}/abandon")

    # Dead letters

    def purge(self, device):
        return self.rest.expect(200, "DELETE", f"{identity_path(device)}/commands")

    def dead_letters(self, device):
        return self.rest.expect(200, "GET", f"{identity_path(device)}/messages/deadLetters")

    def replay(self, device, number):
        path = f"{identity_path(device)}/messages/deadLetters/{number}/replay"
        return self.rest.expect(201, "POST", path)

    # Twins as they were

    def twin_changes(self, device):
        return self.rest.expect(200, "GET", f"{twin_path(device)}/history")

    def twin_at(self, device, version):
        return self.rest.expect(200, "GET", f"{twin_path(device)}/history/{version}")

    # Files

    def receive_file_notification(self):
        """One file notification as (lock token, document), or None when there is none."""
        answer = self.rest.request("GET", FILES)
        if answer.status_code == 204:
            return None
        assert answer.status_code == 200, describe(answer)
        return answer.headers["ETag"].strip('"'), answer.json()

    def complete_file_notification(self, token):
        self.rest.expect(204, "DELETE", f"{FILES}/{token}")

    def abandon_file_notification(self, token):
        self.rest.expect(204, "POST", f"{FILES}/{token}/abandon")

    def file_address(self, blob):
        """An address that a file can be read by."""
        return self.rest.expect(200, "GET", "/files/address", query={"blobName": blob})["uri"]

    def container_address(self, name):
        """An address of a folder for imports and exports."""
        return self.rest.expect(200, "GET", "/files/container", query={"name": name})["uri"]

    # Events

    def partitions(self):
        """The log's partitions, as a list of their ids."""
        found = self.rest.expect(200, "GET", f"{EVENTS}/partitions")
        return [str(entry["partition"]) for entry in found]

    def try_read(self, partition, start, maximum=100, group=GROUP, **options):
        path = f"{EVENTS}/ConsumerGroups/{group}/Partitions/{partition}"
        return self.rest.request("GET", path, query={"from": start, "max": maximum}, **options)

    def read(self, partition, start, maximum=100):
        """Events from `start` on, and the sequence number that the next read begins with."""
        answer = self.try_read(partition, start, maximum)
        assert answer.status_code == 200, describe(answer)
        page = answer.json()
        return [Event(each) for each in page["events"]], page["next"]

    def stream(self, partition, start, timeout=10):
        """Events as they arrive, until the caller stops asking or `timeout` passes in silence."""
        headers = {"Accept": "application/x-ndjson"}
        answer = self.try_read(partition, start, headers=headers, stream=True, timeout=timeout)
        assert answer.status_code == 200, describe(answer)
        with answer:
            for line in answer.iter_lines(chunk_size=1):
                if line.strip():
                    yield Event(json.loads(line))

    def reader(self):
        return EventReader(self)


class Event:
    """One event of the log."""

    def __init__(self, fields):
        self.partition = str(fields["partition"])
        self.sequence_number = fields["sequenceNumber"]
        self.offset = fields["offset"]
        self.enqueued_time = fields["enqueuedTime"]
        self.system = fields["systemProperties"]
        self.properties = fields["properties"]
        self.body = base64.b64decode(fields["body"], validate=True)
        self.device = self.system.get("iothub-connection-device-id")
        self.module = self.system.get("iothub-connection-module-id")

    def __repr__(self):
        return f"Event({self.system} {self.properties} {self.body[:40]!r})"


class EventReader:
    """Follows all partitions from the moment of its making."""

    def __init__(self, api):
        self.api = api
        self.next = {each: api.read(each, "latest")[1] for each in api.partitions()}
        self.seen = []

    def poll(self):
        for partition, position in self.next.items():
            events, after = self.api.read(partition, f"sequence:{position}")
            self.seen += events
            self.next[partition] = after

    def wait_for(self, device, count=1, seconds=10):
        """The first `count` events of a device, in the order of the log."""
        deadline = time.monotonic() + seconds
        while True:
            found = [each for each in self.seen if each.device == device]
            if len(found) >= count:
                return found[:count]
            if time.monotonic() > deadline:
                raise AssertionError(
                    f"{len(found)} of {count} events of {device} within {seconds} s: {found}"
                )
            self.poll()
            time.sleep(0.02)

    def one(self, device):
        return self.wait_for(device)[0]
