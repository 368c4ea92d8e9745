"""A bare MQTT connection, for what other SDKs send and the stock Python SDK cannot be made to.

It is the MQTT library that the Python SDK itself uses, driven by hand.
"""

import socket
import ssl
import threading

import paho.mqtt.client as mqtt

from . import sas
from .waiting import Inbox, eventually

API = "/?api-version=2021-04-12"


class Raw:
    def __init__(self, hub, identity, **changes):
        """`changes` replace parts of what a proper device would send."""
        client_id = identity.device + (f"/{identity.module}" if identity.module else "")
        path = client_id.replace("/", "/modules/") if identity.module else client_id
        self.hub = hub
        self.password = changes.get("password") or sas.token(
            f"{hub.host_name}/devices/{path}", changes.get("key", identity.key)
        )
        self.username = changes.get("username", f"{hub.host_name}/{client_id}{API}")
        self.messages = Inbox("publish")
        self.connack = Inbox("CONNACK")
        self.subacks = Inbox("SUBACK")
        self.closed = threading.Event()
        self.client = mqtt.Client(
            changes.get("client_id", client_id), clean_session=changes.get("clean", False)
        )
        self.client.username_pw_set(self.username, self.password)
        context = ssl.create_default_context(cadata=hub.ca)
        self.client.tls_set_context(context)
        if "will" in changes:
            self.client.will_set(changes["will"], b"gone", qos=1)
        self.client.on_connect = lambda client, data, flags, code: self.connack((code, flags))
        self.client.on_message = lambda client, data, message: self.messages(message)
        self.client.on_subscribe = lambda client, data, mid, granted: self.subacks(granted)
        self.client.on_disconnect = lambda client, data, code: self.closed.set()

    def connect(self):
        """Connects and gives the CONNACK code and the session-present flag."""
        self.closed.clear()
        port = self.hub.mqtts[1]
        self.client.connect(self.hub.host_name, port, keepalive=60)
        self.client.loop_start()
        code, flags = self.connack.next()
        return code, flags["session present"]

    def subscribe(self, topic, qos=1):
        self.client.subscribe(topic, qos)
        return list(self.subacks.next())

    def publish(self, topic, body=b"", qos=1, retain=False):
        """Publishes and waits for the acknowledgement."""
        sent = self.client.publish(topic, body, qos, retain)
        eventually(lambda: sent.is_published(), f"acknowledgement of {topic}")

    def publish_unacknowledged(self, topic, body=b"", qos=1):
        self.client.publish(topic, body, qos)

    def is_cut(self, seconds=10):
        return self.closed.wait(seconds)

    def vanish(self):
        """Ends the TCP connection without a DISCONNECT."""
        self.client.socket().shutdown(socket.SHUT_RDWR)

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()
