"""The embedded scripted model: a real HTTP server that acts out the references of the tasks it has learned."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from types import TracebackType
from typing import Any, NamedTuple, Protocol, Self

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from pytest_agentcap.corpus.task import Task
from pytest_agentcap.upstream import chat, gemini, messages, responses
from pytest_agentcap.upstream.exchange import Answer, BadRequest, Request
from pytest_agentcap.upstream.script import Script, next_answer, scripts_of
from pytest_agentcap.upstream.serving import ServerThread

NOP = "nop"

_Endpoint = Callable[[HttpRequest], Awaitable[Response]]


class WireApi(Protocol):
    """What the server needs of one wire API; the modules chat, responses, messages and gemini are such."""

    def read(self, raw: bytes) -> Request: ...
    def answer_body(self, request: Request, answer: Answer) -> dict[str, Any]: ...
    def answer_events(self, request: Request, answer: Answer) -> Iterator[bytes]: ...
    def error_body(self, message: str, kind: str = ...) -> dict[str, Any]: ...


class _Scripts(NamedTuple):
    """Hold a task's scripts as its references tell them, and as they are without any."""

    told: tuple[Script, ...]
    idle: tuple[Script, ...]


class ScriptedModel:
    """Serve chat completions, responses, messages and Gemini's API from the references of learned tasks.

    Every answer depends on nothing but its request and the tasks known at that time. Use `start`, or `with`. Who asks
    for the model `nop` is answered without any reference, and so does nothing.
    """

    def __init__(self, model_id: str = "scripted") -> None:
        self._model_id = model_id
        self._learning = threading.Lock()
        # Replaced, never changed: the server's thread reads it without a lock.
        self._known: tuple[tuple[Task, _Scripts], ...] = ()
        self._server = ServerThread(self._application(), "scripted-model")

    @classmethod
    def start(cls, model_id: str = "scripted") -> ScriptedModel:
        """Start a server; it answers when this returns.

        Raises RuntimeError when it does not come up.
        """
        return cls(model_id)

    @property
    def url(self) -> str:
        """Return the server's origin, without `/v1`."""
        return self._server.url

    def learn(self, task: Task) -> None:
        """Know a task's prompts and references from now on; each `learn` is undone by one `forget`."""
        with self._learning:
            known = _Scripts(scripts_of(task), scripts_of(replace(task, references=())))
            self._known = (*self._known, (task, known))

    def forget(self, task: Task) -> None:
        """Undo one `learn` of a task.

        Raises ValueError when the task is not known.
        """
        with self._learning:
            position = [known for known, _ in self._known].index(task)
            self._known = self._known[:position] + self._known[position + 1 :]

    def close(self) -> None:
        """Stop the server; safe to call twice."""
        self._server.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _application(self) -> Starlette:
        posts: dict[str, _Endpoint] = {
            "/chat/completions": self._endpoint(chat),
            "/responses": self._endpoint(responses),
            "/messages": self._endpoint(messages),
            "/messages/count_tokens": _counter(messages, "input_tokens"),
        }
        calls: dict[str, _Endpoint] = {
            "generateContent": self._endpoint(gemini),
            "streamGenerateContent": self._endpoint(gemini, streamed=True),
            "countTokens": _counter(gemini, "totalTokens"),
        }
        routes = [
            Route(f"/v1beta/models/{{model}}:{call}", endpoint, methods=["POST"]) for call, endpoint in calls.items()
        ]
        for prefix in ("/v1", ""):
            routes += [Route(prefix + path, endpoint, methods=["POST"]) for path, endpoint in posts.items()]
            routes.append(Route(f"{prefix}/models", self._models, methods=["GET"]))
        return Starlette(routes=routes, exception_handlers={HTTPException: _http_error})

    def _endpoint(self, api: WireApi, streamed: bool = False) -> _Endpoint:
        """Answer in an API; `streamed` is for one whose path says that, `{model}` in the path names the model."""

        async def answer(http: HttpRequest) -> Response:
            try:
                request = api.read(await http.body())
            except BadRequest as error:
                return JSONResponse(api.error_body(str(error)), 400)
            model = request.model or http.path_params.get("model") or self._model_id
            request = replace(request, model=model, stream=request.stream or streamed)
            idle = model.rpartition("/")[2] == NOP
            known = [scripts.idle if idle else scripts.told for _, scripts in self._known]
            reply = next_answer(request, [script for scripts in known for script in scripts])
            if streamed and http.query_params.get("alt") != "sse":
                return JSONResponse([api.answer_body(request, reply)])
            if request.stream:
                events = _one_by_one(api.answer_events(request, reply))
                return StreamingResponse(events, media_type="text/event-stream", headers={"cache-control": "no-cache"})
            return JSONResponse(api.answer_body(request, reply))

        return answer

    async def _models(self, _: HttpRequest) -> Response:
        model = {"id": self._model_id, "object": "model", "created": 0, "owned_by": "pytest-agentcap"}
        return JSONResponse({"object": "list", "data": [model]})


def _counter(api: WireApi, key: str) -> _Endpoint:
    async def count(http: HttpRequest) -> Response:
        try:
            request = api.read(await http.body())
        except BadRequest as error:
            return JSONResponse(api.error_body(str(error)), 400)
        return JSONResponse({key: request.prompt_tokens})

    return count


async def _one_by_one(events: Iterator[bytes]) -> AsyncIterator[bytes]:
    # Starlette would drive a plain iterator from a thread pool, one thread hop an event.
    for event in events:
        yield event


async def _http_error(http: HttpRequest, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = "not_found_error" if error.status_code == 404 else "invalid_request_error"
    path = http.url.path
    shape = messages.error_body if "/messages" in path else gemini.error_body if "/v1beta/" in path else chat.error_body
    message = f"{http.method} {path}: {error.detail}"
    return JSONResponse(shape(message, kind), error.status_code, headers=error.headers)
