"""File uploads: the device SDK asks and tells, the storage SDK writes, a back end hears and reads."""

import datetime
import hashlib
import random
import urllib.parse

import pytest
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceNotFoundError,
)
from azure.iot.device.exceptions import ClientError
from azure.storage.blob import BlobBlock, BlobClient, BlobSasPermissions, generate_blob_sas

from support.waiting import eventually


def url(info):
    """The address, put together as the SDK's own sample does."""
    name = urllib.parse.quote(info["blobName"])
    return f"https://{info['hostName']}/{info['containerName']}/{name}{info['sasToken']}"


def storage(hub, address, **options):
    return BlobClient.from_blob_url(address, connection_verify=hub.ca_file, **options)


def noise(size):
    return random.Random(size).randbytes(size)


@pytest.fixture
def device(fleet):
    return fleet.device()


@pytest.fixture
def client(fleet, device):
    return fleet.client(device)


def notification(hub, device):
    """The device's next notification, completed; those of other tests are completed too."""

    def found():
        received = hub.api.receive_file_notification()
        if received is None:
            return None
        token, told = received
        hub.api.complete_file_notification(token)
        return told if told["deviceId"] == device.device else None

    return eventually(found, "file notification")


def test_a_file_goes_from_the_device_to_the_back_end(hub, device, client):
    info = client.get_storage_info_for_blob("photos/a b+é%.jpg")
    assert info["blobName"] == f"{device.device}/photos/a b+é%.jpg"
    assert info["sasToken"].startswith("?")
    data = noise(100_000)
    written = storage(hub, url(info)).upload_blob(data)
    assert written["content_md5"] == hashlib.md5(data).digest()
    client.notify_blob_upload_status(info["correlationId"], True, 200, "OK")

    told = notification(hub, device)
    assert told["blobName"] == info["blobName"]
    assert told["blobSizeInBytes"] == len(data)
    assert told["blobUri"] == url(info).partition("?")[0]
    for name in ("lastUpdatedTime", "enqueuedTimeUtc"):
        stamp = datetime.datetime.fromisoformat(told[name].replace("0000Z", "+00:00"))
        age = datetime.datetime.now(datetime.timezone.utc) - stamp
        assert abs(age) < datetime.timedelta(minutes=1)

    reader = storage(hub, hub.api.file_address(told["blobName"]))
    properties = reader.get_blob_properties()
    assert properties.size == len(data)
    assert properties.content_settings.content_md5 == bytearray(hashlib.md5(data).digest())
    assert reader.download_blob(validate_content=True).readall() == data
    assert reader.download_blob(offset=99_990, length=100).readall() == data[99_990:]
    with pytest.raises(HttpResponseError) as refused:
        reader.upload_blob(b"x", overwrite=True)
    assert refused.value.error_code == "AuthorizationPermissionMismatch"


def test_a_large_file_goes_in_blocks(hub, device, client):
    info = client.get_storage_info_for_blob("large.bin")
    blob = storage(hub, url(info), max_single_put_size=64 * 1024, max_block_size=512 * 1024)
    data = noise(5_000_000)
    blob.upload_blob(data, max_concurrency=4, validate_content=True)
    client.notify_blob_upload_status(info["correlationId"], True, 200, "OK")
    assert notification(hub, device)["blobSizeInBytes"] == len(data)
    reader = storage(
        hub, hub.api.file_address(info["blobName"]), max_single_get_size=1 << 20, max_chunk_get_size=1 << 20
    )
    assert reader.download_blob(max_concurrency=4, validate_content=True).readall() == data


def test_an_empty_file_is_one(hub, device, client):
    info = client.get_storage_info_for_blob("empty")
    storage(hub, url(info)).upload_blob(b"")
    client.notify_blob_upload_status(info["correlationId"], True, 200, "OK")
    assert notification(hub, device)["blobSizeInBytes"] == 0
    assert storage(hub, hub.api.file_address(info["blobName"])).download_blob().readall() == b""


def test_a_file_is_replaced_only_by_who_wants_to(hub, client):
    info = client.get_storage_info_for_blob("a.txt")
    blob = storage(hub, url(info))
    blob.upload_blob(b"one")
    with pytest.raises(ResourceExistsError) as refused:
        blob.upload_blob(b"two")
    assert refused.value.error_code == "BlobAlreadyExists"
    blob.upload_blob(b"two", overwrite=True, metadata={"kind": "text"})
    assert blob.download_blob().readall() == b"two"
    assert blob.get_blob_properties().metadata == {"kind": "text"}
    # Staged by hand, and read before the list is there.
    blob.stage_block("first", b"three")
    assert blob.download_blob().readall() == b"two"
    blob.commit_block_list([BlobBlock("first")])
    assert blob.download_blob().readall() == b"three"


def test_an_address_is_for_one_file(hub, fleet, client):
    info = client.get_storage_info_for_blob("a.txt")
    other = fleet.client(fleet.device()).get_storage_info_for_blob("a.txt")
    stolen = {**info, "blobName": other["blobName"]}
    with pytest.raises(ClientAuthenticationError):
        storage(hub, url(stolen)).upload_blob(b"x")
    with pytest.raises(ResourceNotFoundError):
        storage(hub, url(info)).download_blob()


def test_an_upload_that_failed_is_over(hub, client):
    for _ in range(12):
        info = client.get_storage_info_for_blob("a.txt")
        client.notify_blob_upload_status(info["correlationId"], False, 500, "no disk")
    for _ in range(10):
        info = client.get_storage_info_for_blob("a.txt")
    with pytest.raises(ClientError) as refused:
        client.get_storage_info_for_blob("a.txt")
    assert "403" in str(refused.value.__cause__)
    client.notify_blob_upload_status(info["correlationId"], False, 500, "no disk")
    client.get_storage_info_for_blob("a.txt")


def test_what_is_not_there_is_not_told(hub, client):
    info = client.get_storage_info_for_blob("a.txt")
    with pytest.raises(ClientError) as refused:
        client.notify_blob_upload_status(info["correlationId"], True, 200, "OK")
    assert "400" in str(refused.value.__cause__)
    storage(hub, url(info)).upload_blob(b"x")
    client.notify_blob_upload_status(info["correlationId"], True, 200, "OK")


def test_whoever_has_the_key_makes_addresses_with_the_storage_sdk(hub, device, client):
    info = client.get_storage_info_for_blob("a.txt")
    storage(hub, url(info)).upload_blob(b"text")
    key = (hub.data_path / "uploads" / "key").read_text().strip()
    token = generate_blob_sas(
        account_name="hub",
        container_name=info["containerName"],
        blob_name=info["blobName"],
        account_key=key,
        permission=BlobSasPermissions(read=True, delete=True),
        expiry=datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=5),
    )
    blob = storage(hub, url({**info, "sasToken": f"?{token}"}))
    assert blob.download_blob().readall() == b"text"
    blob.delete_blob()
    assert not blob.exists()


def test_an_abandoned_notification_comes_again(hub, device, client):
    info = client.get_storage_info_for_blob("a.txt")
    storage(hub, url(info)).upload_blob(b"x")
    client.notify_blob_upload_status(info["correlationId"], True, 200, "OK")
    seen = 0
    for _ in range(100):
        token, told = eventually(hub.api.receive_file_notification, "file notification")
        if told["deviceId"] != device.device:
            hub.api.complete_file_notification(token)
            continue
        seen += 1
        if seen == 2:
            hub.api.complete_file_notification(token)
            return
        hub.api.abandon_file_notification(token)
    raise AssertionError("it did not come again")
