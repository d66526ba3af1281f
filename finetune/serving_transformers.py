"""The handlers of `transformers serve` around one model, under the name that it is asked for.

The command itself answers as `FOLDER@main`, and loads whatever model a caller names: here it is one model with one
name, and the endpoints that load others are left out. Written against transformers 5.23.
"""

from __future__ import annotations

import contextlib
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import torch
import uvicorn
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from transformers.cli.serving.chat_completion import ChatCompletionHandler
from transformers.cli.serving.completion import CompletionHandler
from transformers.cli.serving.model_manager import ModelManager
from transformers.cli.serving.response import ResponseHandler
from transformers.cli.serving.server import build_server
from transformers.cli.serving.utils import BaseHandler, GenerationState

from .errors import FinetuneError

KEPT: Final = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/models", "/health")
_ENDED_WITHIN_S: Final = 10.0


class _One(ModelManager):  # type: ignore[misc]
    """The one model, loaded at once and never put away."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(force_model=str(folder))
        self.name = name
        self.began = int(time.time())

    def get_gen_models(self) -> list[dict[str, Any]]:
        return [{"id": self.name, "object": "model", "created": self.began, "owned_by": "penstock"}]


class _Named(BaseHandler):  # type: ignore[misc]
    def _resolve_model(self, body: dict[str, Any]) -> tuple[str, Any, Any]:
        name = self.model_manager.name
        if body.get("model", name) != name:
            raise HTTPException(404, f"Only {name} is served here.")
        body["model"] = self.model_manager.force_model
        _, model, processor = super()._resolve_model(body)
        return name, model, processor


class _Chat(_Named, ChatCompletionHandler):  # type: ignore[misc]
    pass


class _Completion(_Named, CompletionHandler):  # type: ignore[misc]
    pass


class _Response(_Named, ResponseHandler):  # type: ignore[misc]
    pass


@contextlib.contextmanager
def serving_transformers(folder: Path, name: str, *, host: str, port: int, threads: int) -> Iterator[str]:
    """Its address while it listens; it ends with the block. Raises `FinetuneError`."""
    torch.set_num_threads(threads)
    with tempfile.TemporaryDirectory(prefix="penstock-serve-") as aside, _listening(host, port) as listener:
        link = Path(aside) / "model"  # a path with an @ would be read as one with a revision
        link.symlink_to(folder.resolve())
        try:
            app = _app(link, name)
        except (ValueError, OSError, RuntimeError) as error:
            raise FinetuneError(f"{folder} cannot be served: {' '.join(str(error).split())[:200]}") from error
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="on"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="serving", daemon=True)
        thread.start()
        shown = "127.0.0.1" if host == "0.0.0.0" else f"[{host}]" if ":" in host else host
        try:
            yield f"http://{shown}:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(_ENDED_WITHIN_S)
            server.force_exit = True
            thread.join(_ENDED_WITHIN_S)


@contextlib.contextmanager
def _listening(host: str, port: int) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError as error:
            raise FinetuneError(
                f"{host}:{port} cannot be listened on: {error.strerror}. --port takes another."
            ) from error
        yield listener


def _app(folder: Path, name: str) -> FastAPI:
    one, state = _One(folder, name), GenerationState()
    app: FastAPI = build_server(
        one,
        _Chat(one, state),
        completion_handler=_Completion(one, state),
        response_handler=_Response(one, state),
        transcription_handler=None,
        systemone_handler=None,
        generation_state=state,
    )
    app.add_exception_handler(HTTPException, _as_openai)
    app.router.routes[:] = [route for route in app.router.routes if getattr(route, "path", "") in KEPT]
    return app


def _as_openai(_: Request, error: Exception) -> JSONResponse:
    """In the envelope that callers of OpenAI look into."""
    assert isinstance(error, HTTPException)
    kind = "invalid_request_error" if error.status_code < 500 else "server_error"
    said = {"message": str(error.detail), "type": kind, "param": None, "code": None}
    return JSONResponse({"error": said}, error.status_code, error.headers)
