"""The child's half of the contract: the first line of standard input, and the word `ready`."""

from __future__ import annotations

import itertools
import os

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.job import Job, SupervisorGone, announce_ready, receive_job
from proxy.settings import Server, Settings, Upstream

JOB = Job(
    settings=Settings(
        server=Server(port=0, keys=("sha256:" + "0" * 64,)),
        upstreams=(Upstream(name="a", base_url="https://a/v1", api_key="a resolved secret ✓"),),
    ),
    name="worker-1",
    slot=1,
    listen_fds=(5, 6),
)


@given(st.lists(st.integers(0, 2000), max_size=5))
def test_a_job_arrives_whole_however_it_is_cut(cuts: list[int]) -> None:
    line = msgspec.json.encode(JOB) + b"\n"
    edges = [0, *sorted(min(cut, len(line)) for cut in cuts), len(line)]
    read_fd, write_fd = os.pipe()
    try:
        for start, end in itertools.pairwise(edges):
            os.write(write_fd, line[start:end])
        assert receive_job(read_fd) == JOB
    finally:
        os.close(read_fd)
        os.close(write_fd)


@pytest.mark.parametrize("said", [b"", b'{"settings":'])
def test_an_input_that_ends_means_there_is_no_supervisor(said: bytes) -> None:
    read_fd, write_fd = os.pipe()
    os.write(write_fd, said)
    os.close(write_fd)
    with pytest.raises(SupervisorGone, match="penstock serve"):
        receive_job(read_fd)
    os.close(read_fd)


def test_ready_is_said_once_and_the_pipe_closed() -> None:
    read_fd, write_fd = os.pipe()
    announce_ready(msgspec.structs.replace(JOB, ready_fd=write_fd))
    assert os.read(read_fd, 100) == b"ready\n"
    assert os.read(read_fd, 100) == b""
    os.close(read_fd)


def test_ready_to_nobody_is_no_error() -> None:
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    announce_ready(msgspec.structs.replace(JOB, ready_fd=write_fd))
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(write_fd)
    announce_ready(JOB)
