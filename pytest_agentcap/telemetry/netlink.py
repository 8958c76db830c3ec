"""Linux's two streams about processes: taskstats, a record of each task that ends, and the process connector's events.

Formats: include/uapi/linux/netlink.h, genetlink.h, taskstats.h, connector.h and cn_proc.h of the kernel. Both need the
initial namespaces and CAP_NET_ADMIN. All numbers are in the machine's own byte order.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

_NETLINK_CONNECTOR, _NETLINK_GENERIC = 11, 16
_SO_RCVBUFFORCE = 33
_BUFFER_BYTES = 16 << 20
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_GENERIC = struct.Struct("=BBH")
_NLM_REQUEST_ACK = 0x1 | 0x4
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_CTRL, _CTRL_GETFAMILY, _CTRL_FAMILY_ID, _CTRL_FAMILY_NAME = 16, 3, 1, 2
_TASKSTATS_GET, _OF_PID, _REGISTER_CPUMASK = 1, 1, 3
_AGGR_PID, _STATS = 4, 3
_TYPE_MASK = 0x3FFF
_CN_PROC = struct.pack("=II", 1, 1)
_LISTEN = _CN_PROC + struct.pack("=IIHHI", 0, 0, 4, 0, 1)
_EVENT = struct.Struct("=IIQ")
_FORK, _EXEC, _EXIT = 0x1, 0x2, 0x80000000
# Offsets in struct taskstats. Only version 15 had others, which is why one's own record is looked at first; ac_tgid
# came with 12.
_TGID_SINCE = 12
_TGID = struct.Struct("=I")
_TGID_AT = 368
_NAME = struct.Struct("=32s")
_NAME_AT = 80
_EXITCODE_AT, _RUN_AT, _PID_AT, _TIMES_AT, _RSS_AT, _CHARS_AT, _STORAGE_AT = 4, 72, 128, 152, 200, 216, 248


class NetlinkError(OSError):
    """Say why the kernel does not tell of processes."""


@dataclass(frozen=True, slots=True)
class TaskRecord:
    """Hold what the kernel says of one task, a process or a thread, at its end; `tgid` is None on older kernels.

    `name` is that of the program's file, of which the kernel keeps 15 bytes.
    """

    pid: int
    tgid: int | None
    status: int
    user_ns: int
    system_ns: int
    peak_rss_bytes: int
    storage_read_bytes: int
    storage_write_bytes: int
    syscall_read_bytes: int
    syscall_write_bytes: int
    name: str = ""


@dataclass(frozen=True, slots=True)
class ProcessEvent:
    """Hold one event of a process; `pid` is the thread group's, `parent` is that of a fork, `at_ns` is monotonic."""

    what: Literal["fork", "exec", "exit"]
    at_ns: int
    pid: int
    parent: int | None = None
    status: int | None = None


def open_taskstats() -> socket.socket:
    """Listen for the records of all tasks that end on this machine.

    Raises NetlinkError.
    """
    listener = _open(socket.SOCK_RAW, _NETLINK_GENERIC, 0)
    try:
        listener.settimeout(2.0)
        name = _attribute(_CTRL_FAMILY_NAME, b"TASKSTATS\0")
        listener.send(_message(_CTRL, _GENERIC.pack(_CTRL_GETFAMILY, 1, 0) + name))
        family = family_in(listener.recv(65536))
        # The answer to the first request is followed by its acknowledgement.
        listener.recv(65536)
        own = _attribute(_OF_PID, struct.pack("=I", os.getpid()))
        listener.send(_message(family, _GENERIC.pack(_TASKSTATS_GET, 1, 0) + own))
        _check_layout(listener.recv(65536))
        listener.recv(65536)
        cpus = _attribute(_REGISTER_CPUMASK, f"0-{_last_cpu()}\0".encode())
        listener.send(_message(family, _GENERIC.pack(_TASKSTATS_GET, 1, 0) + cpus))
        _check_acknowledged(listener.recv(65536))
    except OSError as error:
        listener.close()
        raise NetlinkError(f"taskstats: {error}") from error
    listener.setblocking(False)
    return listener


def open_connector() -> socket.socket:
    """Listen for forks, execs and exits on this machine.

    Raises NetlinkError.
    """
    listener = _open(socket.SOCK_DGRAM, _NETLINK_CONNECTOR, 1)
    try:
        listener.send(_message(_NLMSG_DONE, _LISTEN, flags=0))
    except OSError as error:
        listener.close()
        raise NetlinkError(f"process connector: {error}") from error
    listener.setblocking(False)
    return listener


def family_in(answer: bytes) -> int:
    """Read the number of a generic netlink family from the answer to a request for it.

    Raises NetlinkError when the kernel has none.
    """
    if _HEADER.unpack_from(answer)[1] == _NLMSG_ERROR:
        _check_acknowledged(answer)
    for kind, data in _attributes(answer, _HEADER.size + _GENERIC.size, len(answer)):
        if kind == _CTRL_FAMILY_ID:
            return int(struct.unpack("=H", data)[0])
    raise NetlinkError("the kernel has no taskstats")


def read_records(data: bytes) -> Iterator[TaskRecord]:
    """Yield the task records of one datagram; those of whole thread groups, which add up the same, are passed over."""
    for kind, aggregate in _attributes(data, _HEADER.size + _GENERIC.size, len(data)):
        if kind == _AGGR_PID:
            for inner, stats in _attributes(aggregate, 0, len(aggregate)):
                if inner == _STATS and len(stats) >= _STORAGE_AT + 24:
                    yield _record(stats)


def _record(stats: bytes) -> TaskRecord:
    (version,) = struct.unpack_from("=H", stats)
    (status,) = struct.unpack_from("=I", stats, _EXITCODE_AT)
    (run_ns,) = struct.unpack_from("=Q", stats, _RUN_AT)
    (pid,) = struct.unpack_from("=I", stats, _PID_AT)
    user_us, system_us = struct.unpack_from("=QQ", stats, _TIMES_AT)
    (rss_kb,) = struct.unpack_from("=Q", stats, _RSS_AT)
    read_chars, written_chars = struct.unpack_from("=QQ", stats, _CHARS_AT)
    read, written, cancelled = struct.unpack_from("=QQQ", stats, _STORAGE_AT)
    user_ns, system_ns = split_cpu(run_ns, user_us, system_us)
    known = version >= _TGID_SINCE and len(stats) >= _TGID_AT + _TGID.size
    tgid = _TGID.unpack_from(stats, _TGID_AT)[0] if known else None
    return TaskRecord(
        pid,
        tgid,
        status,
        user_ns,
        system_ns,
        rss_kb << 10,
        read,
        max(0, written - cancelled),
        read_chars,
        written_chars,
        _NAME.unpack_from(stats, _NAME_AT)[0].partition(b"\0")[0].decode("utf-8", "replace"),
    )


def split_cpu(run_ns: int, user_us: int, system_us: int) -> tuple[int, int]:
    """Split exact CPU time into user and system by the share of the ticks, as the kernel's `cputime_adjust` does.

    Ticks alone are 1 to 10 ms long and say 0 of most short processes.
    """
    ticks = user_us + system_us
    if run_ns == 0:
        return user_us * 1000, system_us * 1000
    system = run_ns * system_us // ticks if ticks else 0
    return run_ns - system, system


def read_event(data: bytes) -> ProcessEvent | None:
    """Read one datagram of the connector; None for events of threads and those that do not matter."""
    at = _HEADER.size + 20
    if len(data) < at + 32:
        return None
    what, _, at_ns = _EVENT.unpack_from(data, at)
    if what == _FORK:
        _, parent, pid, tgid = struct.unpack_from("=iiii", data, at + 16)
        return ProcessEvent("fork", at_ns, tgid, parent) if pid == tgid else None
    if what == _EXEC:
        return ProcessEvent("exec", at_ns, struct.unpack_from("=ii", data, at + 16)[1])
    if what == _EXIT:
        pid, tgid, status = struct.unpack_from("=iiI", data, at + 16)
        return ProcessEvent("exit", at_ns, tgid, status=status) if pid == tgid else None
    return None


def _open(kind: int, protocol: int, groups: int) -> socket.socket:
    try:
        listener = socket.socket(socket.AF_NETLINK, kind, protocol)
    except (OSError, AttributeError) as error:
        raise NetlinkError(f"netlink: {error}") from error
    try:
        listener.bind((0, groups))
        listener.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    except OSError as error:
        listener.close()
        raise NetlinkError(f"netlink: {error}") from error
    return listener


def _last_cpu() -> int:
    return (os.cpu_count() or 1) - 1


def _message(kind: int, payload: bytes, flags: int = _NLM_REQUEST_ACK) -> bytes:
    return _HEADER.pack(_HEADER.size + len(payload), kind, flags, 1, 0) + payload


def _attribute(kind: int, data: bytes) -> bytes:
    size = _ATTRIBUTE.size + len(data)
    return _ATTRIBUTE.pack(size, kind) + data + b"\0" * (-size % 4)


def _attributes(data: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    while start + _ATTRIBUTE.size <= end:
        size, kind = _ATTRIBUTE.unpack_from(data, start)
        if size < _ATTRIBUTE.size:
            return
        yield kind & _TYPE_MASK, data[start + _ATTRIBUTE.size : start + size]
        start += (size + 3) & ~3


def _check_layout(answer: bytes) -> None:
    if _HEADER.unpack_from(answer)[1] == _NLMSG_ERROR:
        _check_acknowledged(answer)
    if [record.pid for record in read_records(answer)] != [os.getpid()]:
        raise NetlinkError("this kernel's taskstats have another layout")


def _check_acknowledged(answer: bytes) -> None:
    (code,) = struct.unpack_from("=i", answer, _HEADER.size)
    if code < 0:
        raise NetlinkError(-code, os.strerror(-code))
