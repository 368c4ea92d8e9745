"""What the suite relies on in hubd itself."""

import re
import signal
import socket
import subprocess

from azure.iot.device import IoTHubDeviceClient

from support.fleet import Fleet
from support.hubd import Hubd, binary
from support.sas import parse_connection_string


def test_ready_line(hub):
    ready = hub.ready
    assert ready["hostName"] == "localhost"
    owner = parse_connection_string(ready["serviceConnectionString"])
    assert owner["HostName"] == "localhost" and owner["SharedAccessKeyName"] == "iothubowner"
    for listener in ("mqtt", "mqtts", "http", "https"):
        assert re.fullmatch(r"127\.0\.0\.1:[1-9]\d*", ready[listener])
    assert {"service", "device", "registryRead", "registryReadWrite"} <= ready["policies"].keys()
    for name, text in ready["policies"].items():
        parts = parse_connection_string(text)
        assert (parts["HostName"], parts["SharedAccessKeyName"]) == ("localhost", name)


def test_devices_given_at_the_start(tmp_path):
    key = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
    with Hubd("--device", f"given={key}", "--device", "made") as hub:
        devices = hub.ready["devices"]
        assert parse_connection_string(devices["given"])["SharedAccessKey"] == key
        fleet = Fleet(hub, tmp_path)
        try:
            for name, text in devices.items():
                assert parse_connection_string(text)["DeviceId"] == name
                client = fleet.adopt(connect_string(fleet, text), connect=True)
                client.send_message("hello")
        finally:
            fleet.close()


def connect_string(fleet, text):
    return IoTHubDeviceClient.create_from_connection_string(text, **fleet.options(None))


def test_ends_cleanly_with_clients_connected(tmp_path):
    for ending in (signal.SIGTERM, signal.SIGINT):
        with Hubd() as hub:
            fleet = Fleet(hub, tmp_path)
            try:
                fleet.client(fleet.device(), connection_retry=False)
                hub.process.send_signal(ending)
                assert hub.process.wait(15) == 0
            finally:
                fleet.close()


def run(*flags):
    return subprocess.run([binary(), *flags], capture_output=True, text=True, timeout=15)


def test_bad_flag(tmp_path):
    done = run("--no-such-flag", "--data-dir", str(tmp_path))
    assert done.returncode == 2
    assert "no-such-flag" in done.stderr


def test_address_in_use(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        free = ["--mqtt", "off", "--http", "off", "--https", "127.0.0.1:0"]
        done = run("--store", "memory", "--data-dir", str(tmp_path), "--mqtts", address, *free)
    assert done.returncode == 2
    assert address in done.stderr
