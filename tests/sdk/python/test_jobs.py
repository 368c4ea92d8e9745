"""Jobs through the stock service SDK."""

import time
import uuid

import pytest
from azure.iot.hub import IoTHubJobManager
from azure.iot.hub.models import QuerySpecification
from azure.iot.hub.protocol.models import CloudToDeviceMethod, JobRequest, Twin, TwinProperties

from support.refusal import refused


@pytest.fixture
def jobs(hub, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", hub.ca_file)
    return IoTHubJobManager.from_connection_string(hub.sdk_connection_string())


@pytest.fixture
def run():
    return uuid.uuid4().hex[:8]


@pytest.fixture
def devices(manager, run):
    names = [f"j-{run}-{number}" for number in range(4)]
    for name in names:
        manager.create_device_with_sas(name, None, None, "enabled")
    return names


def over(jobs, job_id):
    deadline = time.monotonic() + 30
    while True:
        job = jobs.get_scheduled_job(job_id)
        if job.status not in ("queued", "enqueued", "scheduled", "running"):
            return job
        assert time.monotonic() < deadline, job.status
        time.sleep(0.05)


def update(job_id, condition, **more):
    twin = Twin(etag="*", properties=TwinProperties(desired={"rate": 3}))
    return JobRequest(
        job_id=job_id, type="scheduleUpdateTwin", query_condition=condition, update_twin=twin,
        max_execution_time_in_seconds=60, **more,
    )


def test_twins_are_written(manager, jobs, devices, run):
    chosen = devices[:2]
    listed = ",".join(f"'{name}'" for name in chosen)
    asked = jobs.create_scheduled_job(run, update(run, f"deviceId IN [{listed}]"))
    assert (asked.job_id, asked.type, asked.status) == (run, "scheduleUpdateTwin", "queued")
    job = over(jobs, run)
    counts = job.device_job_statistics
    assert (job.status, counts.device_count, counts.succeeded_count) == ("completed", 2, 2)
    assert job.end_time >= job.created_time
    for name in devices:
        desired = manager.get_twin(name).properties.desired
        assert desired.get("rate") == (3 if name in chosen else None)
    text = f"SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '{run}'"
    rows = manager.query_iot_hub(QuerySpecification(query=text)).items
    assert sorted(row.device_id for row in rows) == chosen
    assert all(row.status == "completed" for row in rows)


def test_methods_of_devices_that_stay_offline(jobs, devices, run):
    method = CloudToDeviceMethod(method_name="reboot", payload={"a": 1}, response_timeout_in_seconds=15)
    request = JobRequest(
        job_id=run, type="scheduleDeviceMethod", query_condition=f"deviceId = '{devices[0]}'",
        cloud_to_device_method=method, max_execution_time_in_seconds=1,
    )
    jobs.create_scheduled_job(run, request)
    job = over(jobs, run)
    assert (job.status, job.device_job_statistics.failed_count) == ("completed", 1)


def test_a_job_of_the_future_is_cancelled(jobs, devices, run):
    request = update(run, "*", start_time="2100-01-01T00:00:00Z")
    assert jobs.create_scheduled_job(run, request).status == "queued"
    jobs.cancel_scheduled_job(run)
    assert over(jobs, run).status == "cancelled"


def test_an_id_is_used_once(jobs, devices, run):
    condition = f"deviceId = '{devices[3]}'"
    jobs.create_scheduled_job(run, update(run, condition))
    with refused(409):
        jobs.create_scheduled_job(run, update(run, condition))
    with refused(404):
        jobs.get_scheduled_job(f"{run}-none")
    with refused(400):
        jobs.create_scheduled_job(f"{run}-bad", update(f"{run}-bad", "tags.a ="))
