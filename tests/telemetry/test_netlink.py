from __future__ import annotations

import base64
import os
import struct
import sys
import zlib

import pytest

from pytest_agentcap.telemetry.netlink import (
    NetlinkError,
    family_in,
    open_connector,
    open_taskstats,
    read_event,
    read_records,
    split_cpu,
)

# Recorded on Linux 6.18 (taskstats version 16, x86-64): a shell that ran dd, Python and rm.
EVENTS = [
    "c-r$}U|?VdVwSm#3?RS=#W21Gln(+2*0P=WBFVt8Qx<}EK`{&f00(ObVE",
    "c-r$}U|?VdV%E8g3?RS=#W21G5Hm4Az_#CdC%#BBFzk|rU~~Wg{lEt#",
    "c-r$}U|?VdVz#-A3?RS=#W21Gln(;(R<S3(NHQ?&l7-;iPz(bA@VN)9",
    "c-r$}U|?VdV)nU=3?RS=#W21G5Hm4AfRbtQi7%2247+6^7##or+L#6f",
    "c-r$}U|?VdVvf0t3?RS=#W21Gm}F=G5!&B)PJNMNVAw4S!5|<A#Jgl67yt%*2)O",
    "c-r$}U|?VdV$QjY3?RS=#W21Gln(;h+9IdENHQ?&l7-+sPz(bA>6iy<",
    "c-r$}U|?VdVy?N23?RS=#W21G5Hm4AKze}qsV|ZY40~iD7##or-(v<N",
    "c-r$}U|?VdV!pYI3?RS=#W21Gm}F=GllPb0{vyf1utyex8Q2*Z1cB5pSqKII6?F+U",
    "c-r$}U|?VdV*a^|3?RS=#W21Gln(-XvtHf)BFVt8OBRCnK`{&f03neHG5",
    "c-r$}U|?VdVu87g3?RS=#W21G5Hm4A!2aEDZ-0?wVAv-M!RP=06_5wr",
    "c-r$}U|?VdV!^qL3?RS=#W21Gm}F=G5#23}cfLq6Fzl0sU=R=l;$5;33;+r$2*v",
    "c-r$}U|?VdVxhT=3?RS=#W21Gm}F=G5g*;u?|hMDVAv%K!5|<A#5-jn7yuKP2@C",
]
RECORDS = [
    "c-jkLVqlPGU|>+?V*mptMg|54CKd(`21bV6vJ4C+Ow0@d5Ge))D9sL~W2b&#APNXofvLMj8^Lr+3Ij<1<c?iH{9rp{Hi-W>2UXrd"
    "9zxqQLTD((AmIg-&xOzpToC#XFH`}K0hD2Y-Qor)9e^s&j7Foo1Lj{s0OlWT{zdWUKWKRWU?$4k|AzTsdJ;dwfB*omD;mu",
    "c-jkLVqlPGU|>+=V*mptMg|54CKd(`21bTGvJ4C+Ow0@dAPIH`1_g)`22&{gzEGT-ff(>PpAAGkaj*x|1(hWk`FX~AhK5Ax2D@Vy"
    "5I@+?m<{5;tzZF*H&`%&>4aQ}x(NcP`hNLKf@%M6@?g3o0%~3gRKXe%{1yvf7iNUg#!wpF9WehA0x<tz^DnYL8U8`2<P74%tM=b#"
    "FwHN>FdzT`|G*-&",
    "c-jkLVqlPGU|>+^V*mptMg|54CKd(`21bT`vJ4C+Ow0@d5Ge))D9r?=8)_Ly0wH>gV7e%mG<_g<>;mEk+ZnS#{A5<_>MRMEbB6^&"
    "Kj4H4@Gy`F3{ZHC43q(wf3W!%#h?Em)cs$~M44NY1EE<283qIZ0JAF+8v",
    "c-jkLVqlPGU|`VTV*mptMg|54CKd(`21bTmvJ4C+Ow0@d5Ge))D9r_>d7CyekODsZk_6Mm86;@~yJII1KiJNg4dSP&v0_zc2c;Qt"
    "m{S7PrU3H*4*`n>unV(8X(k5B0L(ww{EOnxe-J9<2QyLT3chs&)BejD1_S^A`|J~$",
]


def unpacked(texts: list[str]) -> list[bytes]:
    return [zlib.decompress(base64.b85decode(text)) for text in texts]


little_endian = pytest.mark.skipif(sys.byteorder != "little", reason="the bytes were recorded on a machine that is")


@little_endian
def test_events_of_processes_are_read():
    events = [event for data in unpacked(EVENTS) if (event := read_event(data))]
    assert [event.what for event in events] == ["fork", "exec"] + ["fork", "exec", "exit"] * 3 + ["exit"]
    shell = events[0].pid
    assert {event.parent for event in events if event.what == "fork"} == {events[0].parent, shell}
    assert [event.status for event in events if event.what == "exit"] == [0, 7 << 8, 0, 0]
    assert [event.at_ns for event in events] == sorted(event.at_ns for event in events)


@little_endian
def test_records_of_ended_tasks_are_read():
    copy, python, _, shell = (record for data in unpacked(RECORDS) for record in read_records(data))
    assert (copy.name, python.name[:6], shell.name) == ("dd", "python", "sh")
    assert (copy.tgid, copy.status, python.status >> 8) == (copy.pid, 0, 7)
    assert copy.syscall_write_bytes == 3 << 20
    assert 3 << 20 <= copy.storage_write_bytes < 4 << 20
    assert python.storage_write_bytes == 0
    assert python.peak_rss_bytes > 15 << 20 > shell.peak_rss_bytes
    assert python.user_ns + python.system_ns > 20_000_000


@little_endian
@pytest.mark.parametrize("size", [0, 30, 60, 200, 250])
def test_a_datagram_that_is_cut_off_tells_nothing(size):
    assert list(read_records(unpacked(RECORDS)[0][:size])) == []
    assert read_event(unpacked(EVENTS)[0][: min(size, 60)]) is None


def test_events_of_threads_are_passed_over():
    head = bytes(36)
    fork = struct.pack("=IIQiiii", 1, 0, 5, 10, 10, 11, 10)
    assert read_event(head + fork) is None


def test_cpu_time_is_exact_and_split_as_the_ticks_are():
    assert split_cpu(10_000_000, 4000, 12000) == (2_500_000, 7_500_000)
    assert split_cpu(1_500_000, 0, 0) == (1_500_000, 0)
    assert split_cpu(0, 4000, 8000) == (4_000_000, 8_000_000)


def test_a_kernel_without_taskstats_is_told():
    refusal = struct.pack("=IHHIIi", 36, 2, 0, 1, 0, -2) + bytes(16)
    with pytest.raises(NetlinkError, match="No such file"):
        family_in(refusal)


def test_a_process_that_may_not_listen_is_told_so(monkeypatch):
    if sys.platform != "linux":
        with pytest.raises(NetlinkError):
            open_taskstats()
        return
    if os.geteuid() == 0:
        pytest.skip("root may listen")
    with pytest.raises(NetlinkError):
        open_taskstats()
    open_connector().close()
