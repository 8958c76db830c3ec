"""One round: start everybody, take each figure from all of them in turn, end them."""

from __future__ import annotations

import contextlib
import gc
import random
import shutil
import ssl
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from client import LoadError, Target
from contenders import HERE, Contender, Place
from figures import Figure, Subject, warm_up
from processes import Server, StartError, free_port, make_certificate, serving
from report import Results


async def run_round(
    number: int, contenders: Sequence[Contender], figures: Mapping[str, Figure], tls: bool, results: Results
) -> None:
    """Take every figure once from every contender and add the numbers to the results.

    Within a figure the contenders follow one another in random order, so that what else the machine does meets all
    alike. A figure that fails has no value in this round and says why on standard error.
    Raises StartError when a contender does not come up.
    """
    with contextlib.ExitStack() as stack:
        scratch = Path(tempfile.mkdtemp(prefix="agentcap-bench-"))
        stack.callback(shutil.rmtree, scratch, ignore_errors=True)
        certificate = make_certificate(scratch) if tls else None
        port = free_port()
        upstream = [sys.executable, str(HERE / "upstream.py"), str(port)]
        if certificate:
            upstream += ["--tls", str(certificate)]
        stack.enter_context(serving(upstream, port, scratch / "upstream.log"))
        subjects = {}
        for contender in contenders:
            place = Place(
                upstream=f"{'https' if tls else 'http'}://127.0.0.1:{port}",
                upstream_port=port,
                port=free_port(),
                scratch=scratch / contender.name,
                certificate=certificate,
            )
            subjects[contender.name] = _start(contender, place, stack)
        for name, subject in subjects.items():
            try:
                await warm_up(subject)
            except LoadError as error:
                raise StartError(f"{name} does not forward: {error}") from error
        for figure_name, figure in figures.items():
            for name in random.sample(list(subjects), len(subjects)):
                with _no_collection():
                    try:
                        results.add(name, number, await figure(subjects[name]))
                    except LoadError as error:
                        print(f"round {number}: {figure_name} of {name} has no value: {error}", file=sys.stderr)


def _start(contender: Contender, place: Place, stack: contextlib.ExitStack) -> Subject:
    if contender.command is None:
        tls = ssl.create_default_context(cafile=str(place.certificate)) if place.certificate else None
        return Subject(Target(place.upstream_port, tls))
    place.captures.mkdir(parents=True)
    trusted = {"SSL_CERT_FILE": str(place.certificate)} if place.certificate else {}
    command = contender.command(place)
    server: Server = stack.enter_context(serving(command, place.port, place.scratch / "log", trusted))
    return Subject(Target(place.port), server, place.captures if contender.pairs else None)


@contextlib.contextmanager
def _no_collection() -> Iterator[None]:
    # A collection in the client would look like a pause of the proxy.
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
