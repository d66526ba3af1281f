"""The official Node client: another language, another HTTP stack, nothing set but `OPENAI_BASE_URL`.

Its packages are installed by `npm ci` in tests/e2e/node.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from .model import NAME
from .serve import Penstock
from .test_sdk_chat import texts

HERE = Path(__file__).parent / "node"


def node(proxy: Penstock, call: str, call_id: str, model: str = NAME) -> dict[str, Any]:
    """What the client saw."""
    assert (HERE / "node_modules" / "openai").is_dir(), "run `npm ci` in tests/e2e/node"
    job = {"call": call, "model": model, "tags": f"call={call_id}"}
    done = subprocess.run(
        ["node", "calls.mjs", json.dumps(job)],
        cwd=HERE,
        env={"PATH": os.environ["PATH"], "OPENAI_BASE_URL": proxy.base_url, "OPENAI_API_KEY": "sk-callers-own"},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def test_a_unary_call(proxy: Penstock, call_id: str) -> None:
    seen = node(proxy, "unary", call_id)
    row = proxy.row(seen["id"])
    assert row["tags"] == {"call": call_id}
    assert texts(row["output_messages"]) == [seen["data"]["choices"][0]["message"]["content"]]
    assert row["output_tokens"] == seen["data"]["usage"]["completion_tokens"]


def test_a_stream(proxy: Penstock, call_id: str) -> None:
    seen = node(proxy, "stream", call_id)
    assert seen["withoutChoices"] == 0
    row = proxy.row_of_tag("call", call_id)
    assert texts(row["output_messages"]) == [seen["text"]]
    assert (row["outcome"], row["stream"], row["usage_source"]) == ("answered", True, "upstream")


def test_an_aborted_stream_is_abandoned(proxy: Penstock, call_id: str) -> None:
    assert node(proxy, "abort", call_id)["chunks"] >= 3
    row = proxy.row_of_tag("call", call_id)
    assert (row["outcome"], row["error_type"]) == ("abandoned", "client_disconnected")
    assert row["output_messages"] != ""


def test_an_error_is_the_clients_own(proxy: Penstock, call_id: str) -> None:
    seen = node(proxy, "error", call_id, model="unknown-1")
    assert seen == {"name": "NotFoundError", "status": 404, "code": "model_not_found", "type": "invalid_request_error"}
    assert proxy.row_of_tag("call", call_id)["outcome"] == "rejected"


def test_a_stream_of_responses(proxy: Penstock, call_id: str) -> None:
    assert node(proxy, "responses", call_id)["types"][-1] == "response.completed"
    row = proxy.row_of_tag("call", call_id)
    assert (row["endpoint"], row["outcome"], row["usage_source"]) == ("responses", "answered", "upstream")
