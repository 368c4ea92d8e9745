"""Shared access signatures, made independently of the SDKs."""

import base64
import hashlib
import hmac
import time
import urllib.parse


def parse_connection_string(text):
    return dict(part.split("=", 1) for part in text.split(";"))


def quote(text):
    return urllib.parse.quote(text, safe="")


def token(resource, key, policy=None, ttl=3600, encoded=None, text_key=False):
    """A token for `resource`; `encoded` gives its spelling in `sr` where that is the point.

    Event Hubs clients sign with the text of a key (`text_key`), everybody else with its bytes.
    """
    encoded = encoded or quote(resource)
    expiry = str(int(time.time()) + ttl)
    material = key.encode() if text_key else base64.b64decode(key)
    digest = hmac.new(material, f"{encoded}\n{expiry}".encode(), hashlib.sha256)
    signature = quote(base64.b64encode(digest.digest()).decode())
    text = f"SharedAccessSignature sr={encoded}&sig={signature}&se={expiry}"
    return f"{text}&skn={policy}" if policy else text
