"""What a socket refuses before it has read it."""

import struct

import pytest
from websockets.exceptions import ConnectionClosed

from guardian import services
from tests.e2e.doors import Web
from tests.e2e.processes import Processes, wait_for


@pytest.fixture
def processes(tmp_path):
    made = Processes(tmp_path)
    yield made
    made.end()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_message_is_refused_by_its_announced_length(lead, processes):
    _, token = services.create_token(actor=lead, user=lead.user, name="t", scopes=["events:read"])
    web = Web(processes, token)
    wait_for(lambda: web.ask("/livez")[0] == 200, seconds=60, why=processes.logs)

    with web.listen() as wire:
        assert "hello" in str(wire.recv(10))
        # A masked text frame of 10 MiB (RFC 6455, section 5.2), of which nothing follows.
        wire.socket.sendall(b"\x81\xff" + struct.pack("!Q", 10 * 1024 * 1024) + b"mask")
        with pytest.raises(ConnectionClosed) as closed:
            wire.recv(10)

    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
