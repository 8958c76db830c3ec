"""A Hub of our own: what huggingface_hub's client asks of one to publish and read datasets, kept in a directory.

It checks what the real one checks (SHA-256 and size of every upload, parent commits, who may write, the YAML of cards),
and answers what it is told to where a test wants to see a failure. Git and Xet are not spoken.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from pytest_agentcap.upstream.serving import ServerThread

LFS_FROM = 1 << 14
WRITER, READER, FINE = "hf_writer", "hf_reader", "hf_fine"
LICENSES = {"apache-2.0", "mit", "cc-by-4.0", "cc0-1.0", "other", "odc-by"}


@dataclass(frozen=True, slots=True)
class Commit:
    """Hold one commit: its files by path, each the SHA-256 of a blob."""

    oid: str
    parent: str | None
    title: str
    files: dict[str, str]


@dataclass(slots=True)
class Repo:
    private: bool
    commits: list[Commit] = field(default_factory=lambda: [Commit("0" * 40, None, "initial commit", {})])

    @property
    def head(self) -> Commit:
        return self.commits[-1]

    def at(self, revision: str) -> Commit:
        found = [commit for commit in self.commits if revision in ("main", commit.oid)]
        if not found:
            raise HTTPException(404, headers={"X-Error-Code": "RevisionNotFound"})
        return found[-1]


@dataclass(slots=True)
class Fault:
    """Answer the next `times` requests whose `METHOD path` matches with a status; with 0, break off in the answer."""

    pattern: str
    status: int
    times: int
    headers: dict[str, str]


class LocalHub:
    """Serve a Hub on loopback; `requests` holds `METHOD path` of all that came, `ranges` what was read of files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.repos: dict[str, Repo] = {}
        self.collections: dict[str, dict[str, Any]] = {}
        self.requests: list[str] = []
        # What the fine-grained token may do, as the Hub tells it.
        self.scoped: list[dict[str, Any]] = []
        self.ranges: list[tuple[int, int]] = []
        self._faults: list[Fault] = []
        self._overtaking: list[tuple[str, str]] = []
        (folder / "blobs").mkdir(parents=True)

    def fail(self, pattern: str, status: int, times: int = 1, **headers: str) -> None:
        """Let the next requests that match fail, by a broken connection where the status is 0.

        Names of headers are given with `_` for `-`.
        """
        self._faults.append(Fault(pattern, status, times, {k.replace("_", "-"): v for k, v in headers.items()}))

    def files(self, repo: str) -> dict[str, bytes]:
        """Return the content of a repository's files now."""
        return {path: self._blob(sha).read_bytes() for path, sha in self.repos[repo].head.files.items()}

    def edit(self, repo: str, path: str, change: Callable[[str], str]) -> None:
        """Commit a change to a text file, as somebody does in the browser."""
        content = change(self._blob(self.repos[repo].head.files[path]).read_text())
        self._put(repo, {path: self._keep(content.encode())})

    def put(self, repo: str, files: dict[str, bytes], oid: str | None = None) -> None:
        """Commit files, in a private repository that is made when it is not there; `oid` names the commit."""
        self.repos.setdefault(repo, Repo(True))
        self._put(repo, {path: self._keep(content) for path, content in files.items()}, oid)

    def overtake(self, repo: str, path: str) -> None:
        """Let a commit with a copy of the first parquet come just before the next one that is asked for."""
        self._overtaking.append((repo, path))

    def _put(self, repo: str, changes: dict[str, str], oid: str | None = None) -> None:
        commits = self.repos[repo].commits
        files = {**commits[-1].files, **changes}
        oid = oid or hashlib.sha1(json.dumps([commits[-1].oid, files, len(commits)]).encode()).hexdigest()
        commits.append(Commit(oid, commits[-1].oid, "somebody's commit", files))

    @contextmanager
    def serving(self) -> Iterator[LocalHub]:
        with closing(ServerThread(self._app(), "local-hub")) as server:
            self.url = server.url
            yield self

    def _app(self) -> Any:
        repo = "/api/datasets/{owner}/{name}"
        routes = [
            Route("/api/whoami-v2", self.whoami),
            Route("/api/repos/create", self.create, methods=["POST"]),
            Route("/api/validate-yaml", self.validate, methods=["POST"]),
            Route(repo + "/preupload/{revision}", self.preupload, methods=["POST"]),
            Route(repo + "/commit/{revision}", self.commit, methods=["POST"]),
            Route(repo + "/commits/{revision}", self.commits),
            Route(repo + "/paths-info/{revision}", self.paths_info, methods=["POST"]),
            Route(repo + "/tree/{revision}", self.tree),
            Route(repo + "/tree/{revision}/{path:path}", self.tree),
            Route(repo + "/revision/{revision}", self.info),
            Route(repo + "/settings", self.settings, methods=["PUT"]),
            Route(repo, self.info),
            Route("/datasets/{owner}/{name}.git/info/lfs/objects/batch", self.lfs_batch, methods=["POST"]),
            Route("/lfs/{owner}/{name}/{oid}", self.lfs_put, methods=["PUT"]),
            Route("/lfs/{owner}/{name}/{oid}/verify", self.lfs_verify, methods=["POST"]),
            Route("/datasets/{owner}/{name}/resolve/{revision}/{path:path}", self.resolve),
            Route("/api/resolve-cache/datasets/{owner}/{name}/{revision}/{path:path}", self.resolve),
            Route("/api/collections", self.collect, methods=["GET", "POST"]),
            Route("/api/collections/{slug:path}/items", self.collect_item, methods=["POST"]),
            Route("/api/collections/{slug:path}", self.collection),
        ]
        app = Starlette(routes=routes)

        async def noted(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                asked = f"{scope['method']} {scope['path']}"
                self.requests.append(asked)
                fault = next((f for f in self._faults if f.times and re.search(f.pattern, asked)), None)
                if fault is not None:
                    fault.times -= 1
                    if fault.status == 0:
                        await _break_off(send)
                        return
                    answer = JSONResponse({"error": "as the test wants"}, fault.status, fault.headers)
                    await answer(scope, receive, send)
                    return
            await app(scope, receive, send)

        return noted

    async def whoami(self, request: Request) -> Response:
        role = self._role(request)
        if role is None:
            raise HTTPException(401)
        token: dict[str, Any] = {"displayName": "t", "role": role}
        if role == "fineGrained":
            token["fineGrained"] = {"canReadGatedRepos": False, "global": [], "scoped": self.scoped}
        return JSONResponse(
            {
                "type": "user",
                "name": "me",
                "orgs": [{"name": "org", "roleInOrg": "write"}],
                "auth": {"type": "access_token", "accessToken": token},
            }
        )

    async def create(self, request: Request) -> Response:
        self._may_write(request)
        asked = await request.json()
        assert asked["type"] == "dataset"
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        url = f"{self.url}/datasets/{name}"
        if name in self.repos:
            return JSONResponse({"error": "You already created this dataset repo", "url": url}, 409)
        private = asked.get("private") or asked.get("visibility") == "private"
        self.repos[name] = Repo(bool(private))
        return JSONResponse({"url": url, "name": name, "id": name})

    async def validate(self, request: Request) -> Response:
        content = (await request.json())["content"]
        errors = []
        match = re.match(r"---\n(.*?)\n---\n", content, re.S)
        try:
            data = yaml.safe_load(match[1]) if match else {}
        except yaml.YAMLError as error:
            errors.append({"message": str(error)})
            data = {}
        if not isinstance(data, dict):
            errors.append({"message": "the card's metadata is no mapping"})
        elif data.get("license") not in LICENSES | {None}:
            errors.append({"message": f'"license" must be one of {sorted(LICENSES)}'})
        return JSONResponse({"errors": errors, "warnings": []}, 400 if errors else 200)

    async def preupload(self, request: Request) -> Response:
        self._may_write(request)
        self._repo(request)
        files = (await request.json())["files"]
        modes = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if _is_large(file["path"], file["size"]) else "regular",
                "shouldIgnore": False,
                "oid": None,
            }
            for file in files
        ]
        return JSONResponse({"files": modes})

    async def lfs_batch(self, request: Request) -> Response:
        self._may_write(request)
        name = self._name(request)
        objects = []
        for wanted in (await request.json())["objects"]:
            action = f"{self.url}/lfs/{name}/{wanted['oid']}"
            entry: dict[str, Any] = {"oid": wanted["oid"], "size": wanted["size"], "authenticated": True}
            if not self._blob(wanted["oid"]).exists():
                sized = {"X-Size": str(wanted["size"])}
                entry["actions"] = {
                    "upload": {"href": action, "header": sized},
                    "verify": {"href": f"{action}/verify", "header": {}},
                }
            objects.append(entry)
        return JSONResponse({"transfer": "basic", "objects": objects})

    async def lfs_put(self, request: Request) -> Response:
        content = await request.body()
        if hashlib.sha256(content).hexdigest() != request.path_params["oid"]:
            return JSONResponse({"error": "the content has another SHA-256 than was told"}, 400)
        self._keep(content)
        return Response(status_code=200)

    async def lfs_verify(self, request: Request) -> Response:
        told = await request.json()
        blob = self._blob(told["oid"])
        good = blob.exists() and blob.stat().st_size == told["size"]
        return Response(status_code=200 if good else 404)

    async def commit(self, request: Request) -> Response:
        self._may_write(request)
        repo = self._repo(request)
        lines = [json.loads(line) for line in (await request.body()).splitlines()]
        header = lines[0]["value"]
        for name, path in [each for each in self._overtaking if each[0] == self._name(request)]:
            self._overtaking.remove((name, path))
            self._put(name, {path: next(sha for at, sha in repo.head.files.items() if at.endswith(".parquet"))})
        parent = header.get("parentCommit")
        if parent is not None and parent != repo.head.oid:
            return JSONResponse({"error": "A commit has happened since. Please refresh and try again."}, 412)
        files = dict(repo.head.files)
        for line in lines[1:]:
            value = line["value"]
            match line["key"]:
                case "file":
                    files[value["path"]] = self._keep(base64.b64decode(value["content"]))
                case "lfsFile":
                    blob = self._blob(value["oid"])
                    if not blob.exists() or blob.stat().st_size != value["size"]:
                        return JSONResponse({"error": f"{value['path']}: not uploaded, or of another size"}, 400)
                    files[value["path"]] = value["oid"]
                case "deletedFile":
                    del files[value["path"]]
                case key:
                    return JSONResponse({"error": f"{key} is not known here"}, 400)
        oid = hashlib.sha1(json.dumps([repo.head.oid, files, len(repo.commits)]).encode()).hexdigest()
        repo.commits.append(Commit(oid, repo.head.oid, header["summary"], files))
        url = f"{self.url}/datasets/{self._name(request)}/commit/{oid}"
        return JSONResponse({"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""})

    async def commits(self, request: Request) -> Response:
        repo = self._repo(request)
        return JSONResponse(
            [
                {"id": c.oid, "title": c.title, "message": "", "authors": [], "date": "2026-01-01T00:00:00.000Z"}
                for c in reversed(repo.commits)
            ]
        )

    async def info(self, request: Request) -> Response:
        repo = self._repo(request)
        commit = repo.at(request.path_params.get("revision", "main"))
        readme = commit.files.get("README.md")
        match = re.match(r"---\n(.*?)\n---\n", self._blob(readme).read_text() if readme else "", re.S)
        card = yaml.safe_load(match[1]) if match else {}
        name = self._name(request)
        return JSONResponse(
            {
                "_id": name,
                "id": name,
                "author": name.split("/")[0],
                "sha": commit.oid,
                "private": repo.private,
                "gated": False,
                "disabled": False,
                "downloads": 0,
                "likes": 0,
                "tags": card.get("tags", []),
                "cardData": card,
                "siblings": [{"rfilename": path} for path in sorted(commit.files)],
                "lastModified": "2026-01-01T00:00:00.000Z",
                "createdAt": "2026-01-01T00:00:00.000Z",
            }
        )

    async def settings(self, request: Request) -> Response:
        self._may_write(request)
        asked = await request.json()
        self._repo(request).private = bool(asked.get("private") or asked.get("visibility") == "private")
        return JSONResponse({})

    async def tree(self, request: Request) -> Response:
        commit = self._repo(request).at(request.path_params["revision"])
        below = request.path_params.get("path", "").strip("/")
        prefix = f"{below}/" if below else ""
        recursive = request.query_params.get("recursive", "").lower() in ("true", "1")
        entries = {}
        for path, sha in sorted(commit.files.items()):
            if path.startswith(prefix):
                folder, slash, _ = path[len(prefix) :].partition("/")
                if slash:
                    entries[prefix + folder] = {
                        "type": "directory",
                        "path": prefix + folder,
                        "oid": "0" * 40,
                        "size": 0,
                    }
                if recursive or not slash:
                    entries[path] = self._entry(path, sha)
        if below and not entries:
            raise HTTPException(404, headers={"X-Error-Code": "EntryNotFound"})
        return JSONResponse(list(entries.values()))

    async def paths_info(self, request: Request) -> Response:
        commit = self._repo(request).at(request.path_params["revision"])
        if request.headers["content-type"].startswith("application/json"):
            asked = (await request.json())["paths"]
        else:
            asked = (await request.form()).getlist("paths")
        found = []
        for path in asked:
            if path in commit.files:
                found.append(self._entry(path, commit.files[path]))
            elif any(name.startswith(f"{path}/") for name in commit.files):
                found.append({"type": "directory", "path": path, "oid": "0" * 40, "size": 0})
        return JSONResponse(found)

    async def resolve(self, request: Request) -> Response:
        commit = self._repo(request).at(request.path_params["revision"])
        sha = commit.files.get(request.path_params["path"])
        if sha is None:
            raise HTTPException(404, headers={"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit.oid})
        content = self._blob(sha).read_bytes()
        headers = {
            "ETag": f'"{sha}"',
            "X-Repo-Commit": commit.oid,
            "X-Linked-Etag": f'"{sha}"',
            "X-Linked-Size": str(len(content)),
            "Accept-Ranges": "bytes",
        }
        span = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
        size = len(content)
        if span is None or request.method == "HEAD":
            if request.method == "GET":
                self.ranges.append((0, size - 1))
            return Response(content, headers=headers)
        first = int(span[1]) if span[1] else max(0, size - int(span[2]))
        last = min(int(span[2]), size - 1) if span[1] and span[2] else size - 1
        if first >= size:
            return Response(status_code=416, headers={"Content-Range": f"bytes */{size}"})
        self.ranges.append((first, last))
        headers["Content-Range"] = f"bytes {first}-{last}/{size}"
        return Response(content[first : last + 1], 206, headers)

    async def collect(self, request: Request) -> Response:
        if request.method == "GET":
            wanted, owner = request.query_params.get("q", ""), request.query_params.get("owner")
            found = [
                c for c in self.collections.values() if wanted in c["title"] and owner in (None, c["owner"]["name"])
            ]
            return JSONResponse(found)
        self._may_write(request)
        asked = await request.json()
        for slug, known in self.collections.items():
            if (known["title"], known["owner"]["name"]) == (asked["title"], asked["namespace"]):
                return JSONResponse({"error": "already there", "slug": slug}, 409)
        slug = f"{asked['namespace']}/{re.sub(r'[^a-z0-9]+', '-', asked['title'].lower())}-{len(self.collections):024x}"
        self.collections[slug] = {
            "slug": slug,
            "title": asked["title"],
            "description": asked.get("description"),
            "owner": {"name": asked["namespace"], "type": "user"},
            "private": asked.get("private", False),
            "lastUpdated": "2026-01-01T00:00:00.000Z",
            "position": 0,
            "theme": "blue",
            "upvotes": 0,
            "items": [],
        }
        return JSONResponse(self.collections[slug])

    async def collect_item(self, request: Request) -> Response:
        self._may_write(request)
        collection = self._collection(request)
        item = (await request.json())["item"]
        if any(item["id"] == each["id"] for each in collection["items"]):
            return JSONResponse({"error": "already there"}, 409)
        number = len(collection["items"])
        collection["items"].append({**item, "_id": f"{number:024x}", "position": number, "repoType": item["type"]})
        return JSONResponse(collection)

    async def collection(self, request: Request) -> Response:
        return JSONResponse(self._collection(request))

    def _collection(self, request: Request) -> dict[str, Any]:
        try:
            return self.collections[request.path_params["slug"]]
        except KeyError:
            raise HTTPException(404) from None

    def _name(self, request: Request) -> str:
        return f"{request.path_params['owner']}/{request.path_params['name']}"

    def _repo(self, request: Request) -> Repo:
        repo = self.repos.get(self._name(request))
        if repo is None or (repo.private and self._role(request) is None):
            raise HTTPException(404, headers={"X-Error-Code": "RepoNotFound"})
        return repo

    def _role(self, request: Request) -> str | None:
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        return {WRITER: "write", READER: "read", FINE: "fineGrained"}.get(token)

    def _may_write(self, request: Request) -> None:
        role = self._role(request)
        if role not in ("write", "fineGrained"):
            raise HTTPException(401 if role is None else 403)

    def _blob(self, sha: str) -> Path:
        return self.folder / "blobs" / sha

    def _keep(self, content: bytes) -> str:
        sha = hashlib.sha256(content).hexdigest()
        self._blob(sha).write_bytes(content)
        return sha

    def _entry(self, path: str, sha: str) -> dict[str, Any]:
        content = self._blob(sha).read_bytes()
        size = len(content)
        entry = {"type": "file", "path": path, "oid": hashlib.sha1(b"blob %d\0" % size + content).hexdigest()}
        lfs = {"lfs": {"oid": sha, "size": size, "pointerSize": 134}} if _is_large(path, size) else {}
        return {**entry, "size": size, **lfs}


def _is_large(path: str, size: int) -> bool:
    """Tell whether a file goes the way of large ones."""
    return size >= LFS_FROM or path.endswith(".parquet")


async def _break_off(send: Any) -> None:
    """Tell less than was promised: the server then closes the connection."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"10")]})
    await send({"type": "http.response.body", "body": b"{"})
