"""What the service SDK raises when the hub says no."""

import contextlib

import pytest
from msrest.exceptions import HttpOperationError


@contextlib.contextmanager
def refused(status):
    with pytest.raises(HttpOperationError) as raised:
        yield
    assert raised.value.response.status_code == status
