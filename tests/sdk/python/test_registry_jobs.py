"""Bulk changes, imports and exports of the registry through the stock SDKs."""

import json
import time

import pytest
from azure.core.exceptions import HttpResponseError
from azure.iot.hub.models import ExportImportDevice
from azure.iot.hub.protocol.models import AuthenticationMechanism, JobProperties
from azure.storage.blob import ContainerClient

from support.refusal import refused


@pytest.fixture
def jobs(manager):
    """Not wrapped by the registry manager: its generated client has them."""
    return manager.protocol.jobs


@pytest.fixture
def container(hub):
    return hub.api.container_address("py")


@pytest.fixture
def files(hub, container):
    return ContainerClient.from_container_url(container, connection_verify=hub.ca_file)


def over(jobs, job):
    deadline = time.monotonic() + 30
    while True:
        job = jobs.get_import_export_job(job.job_id)
        if job.status not in ("enqueued", "running"):
            return job
        assert time.monotonic() < deadline, job.status
        time.sleep(0.05)


def lines(files, name):
    text = files.download_blob(name).readall().decode()
    assert text.endswith("\r\n")
    return [json.loads(line) for line in text.splitlines()]


def test_devices_are_changed_in_bulk(manager):
    sas = AuthenticationMechanism(type="sas")
    made = [
        ExportImportDevice(id=f"bulk-{n}", import_mode="create", authentication=sas, status="enabled")
        for n in range(100)
    ]
    done = manager.bulk_create_or_update_devices(made)
    assert (done.is_successful, done.errors, done.warnings) == (True, [], [])
    again = manager.bulk_create_or_update_devices(made[:2])
    assert not again.is_successful
    assert [error.device_id for error in again.errors] == ["bulk-0", "bulk-1"]
    gone = [ExportImportDevice(id=f"bulk-{n}", import_mode="delete") for n in range(100)]
    assert manager.bulk_create_or_update_devices(gone).is_successful


def test_the_registry_goes_out_and_in(manager, jobs, files, container):
    for name in ("out-1", "out-2"):
        manager.create_device_with_sas(name, None, None, "enabled")
    before = manager.get_device("out-1")
    asked = jobs.create_import_export_job(
        JobProperties(type="export", output_blob_container_uri=container)
    )
    assert asked.type == "export"
    job = over(jobs, asked)
    assert (job.status, job.progress, job.failure_reason) == ("completed", 100, None)
    assert job.end_time_utc is not None
    exported = [line for line in lines(files, "devices.txt") if line["id"].startswith("out-")]
    assert [line["id"] for line in exported] == ["out-1", "out-2"]

    for name in ("out-1", "out-2"):
        manager.delete_device(name)
    wanted = [*exported, {"id": "out-3", "importMode": "update"}, {"id": "no id"}]
    text = "".join(json.dumps(line) + "\r\n" for line in wanted)
    files.upload_blob("devices.txt", text.encode(), overwrite=True)
    asked = jobs.create_import_export_job(
        JobProperties(
            type="import", input_blob_container_uri=container, output_blob_container_uri=container
        )
    )
    assert over(jobs, asked).status == "completed"
    after = manager.get_device("out-1")
    assert after.authentication.symmetric_key.primary_key == (
        before.authentication.symmetric_key.primary_key
    )
    refusals = lines(files, "importErrors.log")
    assert [(line["deviceId"], line["errorCode"]) for line in refusals] == [
        ("out-3", 404001),
        ("no id", 400004),
    ]
    listed = [job.job_id for job in jobs.get_import_export_jobs()]
    assert asked.job_id in listed
    jobs.cancel_import_export_job(asked.job_id)
    assert jobs.get_import_export_job(asked.job_id).status == "completed"


def test_other_containers_are_refused(hub, jobs, files, container):
    elsewhere = "https://account.blob.core.windows.net/box?sv=2020-12-06&sr=c&sig=x"
    for bad in (elsewhere, container.split("?")[0], container.replace("/py?", "/other?")):
        wanted = JobProperties(type="export", output_blob_container_uri=bad)
        with refused(400):
            jobs.create_import_export_job(wanted)
    with refused(404):
        jobs.get_import_export_job("none")
    # The right to one folder is none to another.
    other = ContainerClient.from_container_url(
        container.replace("/py?", "/other?"), connection_verify=hub.ca_file
    )
    with pytest.raises(HttpResponseError) as error:
        other.upload_blob("devices.txt", b"{}")
    assert error.value.status_code == 403
