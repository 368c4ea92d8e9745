"""Starts hubd for a group of tests and knows where it listens."""

import collections
import json
import os
import pathlib
import queue
import shutil
import socket
import subprocess
import tempfile
import threading
import time
import uuid

import pytest

from .hubapi import HubApi
from .relay import Relay
from .rest import Rest

WORKSPACE = pathlib.Path(__file__).resolve().parents[4]
START_SECONDS = 30
STOP_SECONDS = 15

# The ports that stock SDKs connect to; nothing in their options changes them.
MQTTS_PORT, HTTPS_PORT, AMQPS_PORT = 8883, 443, 5671


class HubStartError(Exception):
    """hubd did not come up; the text carries what it wrote to standard error."""


def binary():
    """The hubd to test: $HUBD, or the workspace's newest build."""
    if os.environ.get("HUBD"):
        return os.environ["HUBD"]
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", WORKSPACE / "target"))
    built = [target / profile / "examples" / "hubd" for profile in ("debug", "release")]
    built = [path for path in built if path.exists()]
    if not built:
        raise HubStartError("no hubd: set HUBD or run cargo build --example hubd")
    return str(max(built, key=lambda path: path.stat().st_mtime))


def keeping():
    """hubd's sibling beside it, which keeps what a hub keeps only if it is told to."""
    path = pathlib.Path(binary()).with_name("hubd-keeping")
    if path.exists():
        return str(path)
    if os.environ.get("HUBD"):
        pytest.skip(f"no {path} beside the hubd that was given")
    raise HubStartError(f"no {path}: run cargo build --example hubd-keeping")


def default_store(data_dir):
    """$HUBD_STORE, or memory. Every hub begins empty: `file` is a directory in its own one, and on
    PostgreSQL it gets a schema."""
    store = os.environ.get("HUBD_STORE", "memory")
    if store == "file":
        return f"file:{data_dir}/store"
    if store.startswith(("postgres://", "postgresql://")) and "schema=" not in store:
        store += ("&" if "?" in store else "?") + f"schema=sdk_{uuid.uuid4().hex}"
    return store


def address_or_any(port):
    """127.0.0.1:port if it can be bound now, else a port of the hub's choice."""
    if os.environ.get("HUB_SDK_PORTS") == "random":
        return "127.0.0.1:0"
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        probe.bind(("127.0.0.1", port))
        return f"127.0.0.1:{port}"
    except OSError:
        return "127.0.0.1:0"
    finally:
        probe.close()


def split_address(text):
    host, _, port = text.rpartition(":")
    return host, int(port)


class Hubd:
    """One hubd process. Starts on construction; `stop` ends it with SIGTERM."""

    def __init__(self, *flags, store=None, data_dir=None, ca_file=None, program=None):
        """`ca_file` is what clients trust when `flags` name a server certificate."""
        self.program = program or binary()
        self.flags = flags
        self.given_ca_file = ca_file
        self.own_data_dir = data_dir is None
        self.data_dir = data_dir or tempfile.mkdtemp(prefix="hubd-")
        self.store = store or default_store(self.data_dir)
        self.data_path = pathlib.Path(self.data_dir)
        self._relay = None
        self.process = None
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def start(self):
        command = [
            self.program,
            "--store", self.store,
            "--data-dir", str(self.data_dir),
            "--mqtts", address_or_any(MQTTS_PORT),
            "--https", address_or_any(HTTPS_PORT),
            "--mqtt", "127.0.0.1:0",
            "--http", "127.0.0.1:0",
            "--amqps", address_or_any(AMQPS_PORT),
            "--amqp", "127.0.0.1:0",
            *self.flags,
        ]  # fmt: skip
        self.log = collections.deque(maxlen=200)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        ready = queue.Queue()
        threading.Thread(target=self._read_stdout, args=(ready,), daemon=True).start()
        threading.Thread(target=self._read_stderr, daemon=True).start()
        try:
            line = ready.get(timeout=START_SECONDS)
        except queue.Empty:
            line = None
        if line is None:
            self.kill()
            time.sleep(0.1)  # lets the reader of standard error finish
            raise HubStartError(
                f"hubd did not become ready (exit code {self.process.returncode})\n"
                f"command: {' '.join(command)}\nstandard error:\n" + "\n".join(self.log)
            )
        self._adopt(json.loads(line))

    def _read_stdout(self, ready):
        for line in self.process.stdout:
            if line.startswith("ready "):
                ready.put(line[len("ready ") :])
        ready.put(None)

    def _read_stderr(self):
        for line in self.process.stderr:
            self.log.append(line.rstrip())

    def _adopt(self, ready):
        self.ready = ready
        self.host_name = ready["hostName"]
        self.service_connection_string = ready["serviceConnectionString"]
        self.policies = ready.get("policies", {})
        self.ca_file = str(self.given_ca_file or ready["caFile"])
        self.ca = pathlib.Path(self.ca_file).read_text()
        self.mqtts = split_address(ready["mqtts"])
        self.https = split_address(ready["https"])
        self.amqps = split_address(ready["amqps"])
        self.amqp = split_address(ready["amqp"])
        self.event_hub_connection_string = ready["eventHubConnectionString"]
        self.base_url = f"https://{self.host_name}:{self.https[1]}"
        self.rest = Rest(self.base_url, self.service_connection_string, self.ca_file)
        self.api = HubApi(self.rest)
        if self._relay:
            self._relay.routes = self.routes()

    def routes(self):
        """What a proxy has to do with the ports that stock SDKs insist on."""
        return {MQTTS_PORT: self.mqtts, HTTPS_PORT: self.https}

    def default_relay(self):
        """None on the standard ports; otherwise the proxy that leads to the real ones."""
        if self.mqtts[1] == MQTTS_PORT and self.https[1] == HTTPS_PORT:
            return None
        if self._relay is None:
            self._relay = Relay(self.routes())
        return self._relay

    def sdk_connection_string(self, policy=None):
        """For the service SDK, whose REST part takes a port in the host name."""
        text = self.policies[policy] if policy else self.service_connection_string
        if self.https[1] == HTTPS_PORT:
            return text
        return text.replace(self.host_name, f"{self.host_name}:{self.https[1]}", 1)

    def stop(self):
        """Ends hubd cleanly and gives its exit code."""
        self.process.terminate()
        try:
            code = self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"hubd did not stop within {STOP_SECONDS} s of SIGTERM") from None
        return code

    def kill(self):
        """Ends hubd as a crash would."""
        self.process.kill()
        self.process.wait(STOP_SECONDS)

    def close(self):
        """Stops hubd if it runs, and removes what it left."""
        try:
            if self.process and self.process.poll() is None:
                self.stop()
        finally:
            if self._relay:
                self._relay.close()
            if self.own_data_dir:
                shutil.rmtree(self.data_dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
