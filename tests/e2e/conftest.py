"""What the end-to-end tests share: one language model, one scripted upstream and one Penstock for the whole run."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import openai
import pytest

from tests.ports import held_port

from .model import Model, language_model
from .serve import Penstock, penstock
from .stage import Stage


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    """SmolLM2-135M behind llama.cpp's server."""
    with language_model(tmp_path_factory.mktemp("model")) as running:
        yield running


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    with Stage() as running:
        yield running


@pytest.fixture(scope="session")
def proxy(model: Model, stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    """Penstock in front of the model (`smollm2-*`, and calls without a model), the stage (`gpt-*`) and nobody.

    The stage is there twice more, under limits that a machine which stands still for a moment would meet too: only what
    is to meet them goes there.
    """
    staged = {"base_url": f"{stage.url}/v1", "provider": "openai"}
    with (
        held_port() as nobody,
        penstock(
            tmp_path_factory.mktemp("penstock"),
            upstreams={
                "model": {"base_url": model.base_url, "models": ["smollm2-*"]},
                "stage": {**staged, "models": ["gpt-*", "text-*"]},
                "late": {**staged, "models": ["late-*"], "first_byte_timeout_s": 0.5},
                "stalling": {**staged, "models": ["stalling-*"], "idle_timeout_s": 0.5},
                "nobody": {"base_url": f"http://127.0.0.1:{nobody}/v1", "models": ["nobody-*"]},
                "realtime": {"base_url": stage.realtime_url, "models": ["realtime-*"], "provider": "openai"},
            },
        ) as running,
    ):
        yield running


@pytest.fixture
def client(proxy: Penstock) -> Iterator[openai.OpenAI]:
    """The official SDK; it is told nothing but where Penstock is."""
    with openai.OpenAI(base_url=proxy.base_url, api_key="sk-callers-own", max_retries=0, timeout=60) as sdk:
        yield sdk


@pytest.fixture
def call_id() -> str:
    """A value that is in no other test's rows."""
    return uuid.uuid4().hex


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Any:
    """With a failure, show what Penstock and the model said last."""
    report = yield
    if report.failed:
        fixtures = getattr(item, "funcargs", {})
        for value in fixtures.values():
            if isinstance(value, Penstock):
                report.sections.append(("penstock serve", value.output()[-6000:]))
            elif isinstance(value, Model):
                report.sections.append(("model", value.log.read_text(errors="replace")[-2000:]))
    return report
