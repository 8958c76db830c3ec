"""The file tree that the tasks are about: the same bytes, modes and times wherever it is made."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from pathlib import Path

MOUNT = "/testdata"
DIGEST = "a9087d211c907ea2e26cde5b1d18df183bb218a93ad046b91157ecb267396bf9"
# 2024-01-01 00:00 UTC; every file is an hour younger than the one before it.
_EPOCH, _STEP = 1_704_067_200, 3600
_LEVELS = ("INFO", "DEBUG", "INFO", "WARN", "INFO", "ERROR", "DEBUG")
_NAMES = ("ada", "grace", "edsger", "barbara", "donald", "frances", "john", "radia", "ken", "margaret")
_CITIES = ("Oslo", "Lima", "Pune", "Kyiv", "Quito")
_WORDS = ("river", "stone", "cloud", "amber", "north", "maple", "ember", "delta", "cedar", "quartz")


def make_tree(folder: Path) -> None:
    """Write the tree into an empty folder."""
    for number, (name, text, mode) in enumerate(_files()):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        moment = _EPOCH + number * _STEP
        os.utime(path, (moment, moment))
    (folder / "system/logs/current.log").symlink_to("app-3.log")
    (folder / "workspace/empty").mkdir()
    for path in sorted((folder, *folder.rglob("*")), reverse=True):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
            os.utime(path, (_EPOCH, _EPOCH))


def tree_digest(folder: Path) -> str:
    """Return the SHA-256 of all paths, modes, times, links and contents of a tree."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*"), key=lambda each: each.relative_to(folder).as_posix()):
        status = path.lstat()
        digest.update(f"{path.relative_to(folder).as_posix()}\0{stat.filemode(status.st_mode)}\0".encode())
        if path.is_symlink():
            digest.update(str(path.readlink()).encode())
        elif path.is_file():
            digest.update(f"{int(status.st_mtime)}\0".encode() + path.read_bytes())
        digest.update(b"\0\0")
    return digest.hexdigest()


def _files() -> Iterator[tuple[str, str, int]]:
    for day in range(1, 4):
        lines = [_log_line(day, number) for number in range(1, 121)]
        yield f"system/logs/app-{day}.log", "".join(lines), 0o644
    requests = [_access_line(number) for number in range(1, 151)]
    yield "system/logs/access.log", "".join(requests), 0o644
    yield "system/etc/app.conf", "# application\nport=8080\nhost=localhost\ndebug=false\n# limits\nworkers=4\n", 0o644
    yield "system/etc/db.conf", "host=db.internal\nport=5432\nuser=app\nretries=3\n", 0o600 | 0o044
    users = [f"{name}:x:{1000 + n}:{1000 + n % 3}::/home/{name}:{_shell(n)}\n" for n, name in enumerate(_NAMES)]
    yield "system/etc/passwd", "root:x:0:0::/root:/bin/bash\n" + "".join(users), 0o644
    yield "system/bin/backup.sh", '#!/bin/sh\n# Copy a folder.\ncp -r "$1" "$2"\n', 0o755
    yield "system/bin/clean.sh", '#!/bin/sh\n# TODO: ask first\nrm -rf "$1"/tmp\n', 0o755
    yield "system/bin/notes.txt", "not a program\n", 0o644

    orders = [_order(number) for number in range(1, 61)]
    yield "testbed/orders.csv", "id,customer,city,amount\n" + "".join(orders), 0o644
    yield "testbed/words.txt", "".join(f"{_WORDS[n * 7 % 10]}\n" for n in range(40)), 0o644
    yield "testbed/numbers.txt", "".join(f"{n * 37 % 101}\n" for n in range(1, 51)), 0o644
    yield (
        "testbed/poem.txt",
        "The river runs\nunder the stone,\n\nthe cloud above\nis all alone.\n\n\nThe end.\n",
        0o644,
    )
    yield "testbed/tabs.tsv", "".join(f"{w}\t{len(w)}\t{n}\n" for n, w in enumerate(_WORDS)), 0o644
    yield "testbed/mixed.txt", "Alpha 1\nbeta 22\nGAMMA 333\ndelta\nEpsilon 5x5\nzeta_6\n", 0o644
    for number in range(1, 8):
        body = "".join(f"{_WORDS[(number + line) % 10]} {line}\n" for line in range(number * 4))
        yield f"testbed/parts/part-{number:02d}.txt", body, 0o644
    yield "testbed/parts/part-99.bak", "old\n", 0o644
    yield "testbed/My File.txt", "a name with a blank\n", 0o644

    for name in ("main", "util", "model", "view"):
        yield f"workspace/src/{name}.py", _module(name), 0o644
    yield (
        "workspace/src/legacy/old_util.py",
        "import os\n\n\ndef old():\n    # FIXME: remove\n    return os.getcwd()\n",
        0o644,
    )
    yield "workspace/src/style.css", "body { color: #333333; }\nh1 { color: #ff6600; }\na { color: #333333; }\n", 0o644
    yield (
        "workspace/tests/test_main.py",
        "def test_one():\n    assert True\n\n\ndef test_two():\n    assert 1 + 1 == 2\n",
        0o644,
    )
    yield "workspace/README.md", "# Project\n\n## Install\n\nRun it.\n\n## Use\n\n- one\n- two\n\n### Notes\n", 0o644
    yield "workspace/data.json", '{"name": "project", "version": "1.4.2", "tags": ["a", "b", "c"]}\n', 0o644
    yield "workspace/.hidden", "you found it\n", 0o644
    yield "workspace/empty.txt", "", 0o644


def _log_line(day: int, number: int) -> str:
    level = _LEVELS[number * day % 7]
    clock = f"{number // 60 + 8:02d}:{number % 60:02d}:00"
    return f"2024-01-0{day} {clock} {level} job-{number % 9} took {number * day % 50} ms\n"


def _access_line(number: int) -> str:
    path = ("/", "/login", "/items", "/items/7", "/about")[number * 3 % 5]
    status = (200, 200, 404, 200, 500, 301)[number % 6]
    return f"10.0.{number % 4}.{number % 7} GET {path} {status} {number * 13 % 900}\n"


def _shell(number: int) -> str:
    return ("/bin/bash", "/bin/sh", "/usr/sbin/nologin")[number % 3]


def _order(number: int) -> str:
    return f"{number},{_NAMES[number * 3 % 10]},{_CITIES[number % 5]},{number * 17 % 100}.{number % 10}0\n"


def _module(name: str) -> str:
    functions = "".join(
        f"\n\ndef {name}_{number}(value):\n    # TODO: check {number}\n    return value + {number}\n"
        for number in range(len(name) - 2)
    )
    return f'"""The {name} part."""\n\nimport sys\n{functions}\n\nprint(sys.argv)\n'
