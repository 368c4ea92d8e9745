"""Azure's service REST routes, used to set a scene without the service SDK."""

import json

import requests

from . import sas

API_VERSION = "2021-04-12"
SECONDS = 30


class Rest:
    def __init__(self, base_url, connection_string, ca_file):
        self.base_url = base_url
        self.ca_file = ca_file
        parts = sas.parse_connection_string(connection_string)
        self.host_name = parts["HostName"]
        self.policy = parts["SharedAccessKeyName"]
        self.key = parts["SharedAccessKey"]

    def as_policy(self, connection_string):
        """The same hub, seen with the rights of another policy."""
        return Rest(self.base_url, connection_string, self.ca_file)

    def token(self):
        return sas.token(self.host_name, self.key, self.policy)

    def request(self, method, path, body=None, query=None, headers=None, data=None, **options):
        headers = {"Authorization": self.token(), **(headers or {})}
        if body is not None:
            headers["Content-Type"] = "application/json; charset=utf-8"
            data = json.dumps(body).encode()
        # A session of its own: the tests change CA bundles in the environment, which must not
        # leak in here, and a hub that restarts must not find a stale connection reused.
        session = requests.Session()
        session.trust_env = False
        return session.request(
            method,
            self.base_url + path,
            params={"api-version": API_VERSION, **(query or {})},
            headers=headers,
            data=data,
            verify=self.ca_file,
            timeout=options.pop("timeout", SECONDS),
            **options,
        )

    def expect(self, status, method, path, **arguments):
        answer = self.request(method, path, **arguments)
        statuses = status if isinstance(status, tuple) else (status,)
        assert answer.status_code in statuses, f"{method} {path}: {describe(answer)}"
        return answer.json() if answer.content else None

    def put_identity(self, device, module=None, **fields):
        body = {"deviceId": device, **fields}
        if module:
            body["moduleId"] = module
        # Azure answers 201 to a new module and 200 to a new device.
        return self.expect((200, 201), "PUT", identity_path(device, module), body=body)

    def get_identity(self, device, module=None):
        return self.expect(200, "GET", identity_path(device, module))

    def update_identity(self, device, module=None, **changes):
        body = {**self.get_identity(device, module), **changes}
        path = identity_path(device, module)
        return self.expect(200, "PUT", path, body=body, headers={"If-Match": '"*"'})

    def delete_identity(self, device, module=None):
        self.expect(204, "DELETE", identity_path(device, module), headers={"If-Match": '"*"'})

    def get_twin(self, device, module=None):
        return self.expect(200, "GET", twin_path(device, module))

    def patch_twin(self, device, module=None, desired=None, tags=None):
        body = {}
        if desired is not None:
            body["properties"] = {"desired": desired}
        if tags is not None:
            body["tags"] = tags
        path = twin_path(device, module)
        return self.expect(200, "PATCH", path, body=body, headers={"If-Match": '"*"'})

    def replace_desired(self, device, desired, module=None):
        body = {"properties": {"desired": desired}}
        path = twin_path(device, module)
        return self.expect(200, "PUT", path, body=body, headers={"If-Match": '"*"'})

    def invoke(self, device, name, module=None, response_timeout=10, connect_timeout=0, **payload):
        """Calls a method; gives the HTTP answer, whatever its status."""
        body = {
            "methodName": name,
            "responseTimeoutInSeconds": response_timeout,
            "connectTimeoutInSeconds": connect_timeout,
            **payload,
        }
        path = twin_path(device, module) + "/methods"
        seconds = response_timeout + connect_timeout + 10
        return self.request("POST", path, body=body, timeout=seconds)


def identity_path(device, module=None):
    path = f"/devices/{sas.quote(device)}"
    return f"{path}/modules/{sas.quote(module)}" if module else path


def twin_path(device, module=None):
    return identity_path(device, module).replace("/devices/", "/twins/", 1)


def describe(answer):
    return f"{answer.status_code} {answer.reason} {answer.text[:500]}"
