"""What the operating system refuses, as a node tells it."""

import errno
import os

import pytest

from agent.faults import fault_of
from domain.errors import DiskFull, NodeError


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, DiskFull.code),
        (errno.EDQUOT, DiskFull.code),
        (errno.EIO, NodeError.code),
        (errno.EACCES, NodeError.code),
    ],
)
def test_a_full_disk_has_a_code_of_its_own(number: int, code: str) -> None:
    fault = fault_of(OSError(number, os.strerror(number), "/somewhere"))
    assert (fault.code, "/somewhere" in fault.message) == (code, True)
