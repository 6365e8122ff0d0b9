"""What the operating system refuses, in words of ours."""

import errno
from typing import Final

from domain.errors import DiskFull, NodeError
from domain.wire import Fault

_NO_ROOM: Final = (errno.ENOSPC, errno.EDQUOT)


def fault_of(error: OSError) -> Fault:
    """A full disk has a code of its own: it is no fault of what was to be written."""
    kind = DiskFull if error.errno in _NO_ROOM else NodeError
    return Fault(code=kind.code, message=str(error))
