"""What the sender of a cloud-to-device message learns about its fate."""

import datetime
import time

from support.waiting import Inbox, eventually

# A batch leaves with 64 records or 15 s after the last one.
SECONDS = 25


def collect(api, wanted):
    """Feedback records by the id of their message, until all the wanted ones are there."""
    records = {}
    deadline = time.monotonic() + SECONDS
    while not wanted <= records.keys():
        assert time.monotonic() < deadline, f"feedback only for {sorted(records)}"
        batch = api.receive_feedback()
        if batch is None:
            time.sleep(0.1)
            continue
        token, found = batch
        records.update({each["originalMessageId"]: each for each in found})
        api.complete_feedback(token)
    return records


def test_every_outcome_is_reported_as_asked(hub, fleet, manager):
    online, offline = fleet.device(), fleet.device()
    inbox = Inbox("message")
    fleet.client(online).on_message_received = inbox
    for ack in ("full", "positive", "negative", "none"):
        hub.api.send(online.device, ack.encode(), message_id=f"done-{ack}", ack=ack)
    inbox.take(4)

    soon = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1.5)
    for ack in ("full", "positive"):
        hub.api.send(
            offline.device, b"x", message_id=f"late-{ack}", ack=ack, expiry=soon.isoformat()
        )
    eventually(
        lambda: hub.rest.get_identity(offline.device)["cloudToDeviceMessageCount"] == 0,
        "expiry of the messages",
    )
    for ack in ("full", "none"):
        hub.api.send(offline.device, b"x", message_id=f"purged-{ack}", ack=ack)
    messages = manager.protocol.cloud_to_device_messages
    purged = messages.purge_cloud_to_device_message_queue(offline.device)
    assert purged.total_messages_purged == 2

    records = collect(hub.api, {"done-full", "done-positive", "late-full", "purged-full"})
    outcomes = {name: each["statusCode"] for name, each in records.items()}
    assert outcomes == {
        "done-full": "Success",
        "done-positive": "Success",
        "late-full": "Expired",
        "purged-full": "Purged",
    }
    record = records["done-full"]
    assert record["deviceId"] == online.device
    assert record["deviceGenerationId"] == online.record["generationId"]
    assert record["enqueuedTimeUtc"].endswith("Z")


def test_abandoned_feedback_comes_again(hub, fleet):
    device = fleet.device()
    inbox = Inbox("message")
    fleet.client(device).on_message_received = inbox
    hub.api.send(device.device, b"x", message_id="again", ack="full")
    inbox.next()

    token, records = eventually(hub.api.receive_feedback, "feedback", SECONDS)
    assert [each["originalMessageId"] for each in records] == ["again"]
    assert hub.api.receive_feedback() is None, "locked feedback must not be handed out twice"
    hub.api.abandon_feedback(token)
    second, records = eventually(hub.api.receive_feedback, "abandoned feedback")
    assert [each["originalMessageId"] for each in records] == ["again"]
    assert second != token
    hub.api.complete_feedback(second)
    stale = hub.rest.request("DELETE", f"/messages/serviceBound/feedback/{second}")
    assert stale.status_code == 412
