"""Evaluations that something goes wrong with: the line that says so, and what is left to go on with."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from finetune.dataset import Dataset
from finetune.errors import FinetuneError
from finetune.evaluation.asking import Asker
from finetune.evaluation.evaluate import Options, evaluate
from finetune.evaluation.result import Places
from tests import tiny_llama
from tests.unit.finetune.evaluation.cases import dataset, line
from tests.wire.scripted import Conn, Request, ScriptedUpstream, json_reply
from tests.wire.test_evaluate import House, evaluated, places, refusal
from tests.wire.test_evaluate import data as data  # the fixture


async def test_a_model_that_answered_nothing_is_asked_again_and_the_others_are_not(data: Dataset) -> None:
    wrong = (400, refusal("bad_template"))
    house = House(lambda body: wrong if body["model"] == "tuned" else None)
    with pytest.raises(FinetuneError, match=r"tuned answered none of 30 questions: http_400_bad_template\."):
        await evaluated(data, house)
    house.odd = lambda body: None
    made = await evaluated(data, house)
    assert made.models["tuned"]["errors"] == 0
    assert set(house.answered.values()) == {1}


@pytest.mark.parametrize("status", [402, 407])
async def test_an_account_that_is_empty_is_not_a_wrong_answer(data: Dataset, status: int) -> None:
    """It ends the evaluation, which goes on when somebody has paid."""
    house = House(lambda body: (status, refusal("insufficient_balance")) if house.answered.total() > 9 else None)
    with pytest.raises(FinetuneError, match=rf"answers {status} \(insufficient_balance\) for .*run it again"):
        await evaluated(data, house)
    house.odd = lambda body: None
    assert (await evaluated(data, house)).models["tuned"]["errors"] == 0


async def test_a_model_that_says_nothing_is_given_up_after_a_while() -> None:
    async def silent(request: Request, conn: Conn) -> None:
        await asyncio.sleep(60)

    async with ScriptedUpstream(silent) as upstream, Asker(f"{upstream.url}/v1", "k", tags={}, timeout_s=0.2) as asker:
        with pytest.raises(FinetuneError, match=r"has no answer of slow within 0\.4 s.*run it again"):
            await asker.ask({"model": "slow", "messages": []})


async def test_where_nobody_listens_is_said_after_one_try(data: Dataset) -> None:
    tries = 0

    async def refusing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal tries
        tries += 1
        writer.transport.abort()

    server = await asyncio.start_server(refusing, "127.0.0.1", 0)
    async with server:
        options = Options(models=("base", "tuned"), url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1")
        with pytest.raises(FinetuneError, match=r"cannot be reached: is `penstock serve` running\?"):
            await asyncio.to_thread(evaluate, data, options, "sk", places(data))
    assert tries == 1


async def test_a_server_that_goes_away_while_perplexity_is_measured_is_said_in_a_line(
    data: Dataset, tmp_path: Path
) -> None:
    base = str(tiny_llama.build(tmp_path / "tiny"))
    house = House()
    measured: list[int] = []

    async def limited(request: Request, conn: Conn) -> None:
        if request.target.endswith("/v1/completions") and len(json.loads(request.body)["prompt"]) > 60:
            measured.append(1)
            if len(measured) > 3:
                await json_reply(refusal("no_more"), 403)(request, conn)
                return
        await house(request, conn)

    async with ScriptedUpstream(limited) as upstream:
        options = Options(models=("base",), url=f"{upstream.url}/v1", tokenizer=base)
        with pytest.raises(FinetuneError, match=r"answers 403 \(no_more\) for base\..*run it again"):
            await asyncio.to_thread(evaluate, data, options, "sk", places(data))
    assert len(measured) > 3
    assert places(data).answers.exists()


async def test_a_conversation_that_the_template_cannot_write_costs_perplexity_alone(
    data: Dataset, tmp_path: Path
) -> None:
    base = tiny_llama.build(tmp_path / "tiny")
    template = base / "chat_template.jinja"
    template.write_text("{{ raise_exception('System role not supported') }}" + template.read_text())
    made = await evaluated(data, House(), tokenizer=str(base), limit=4)
    assert "perplexity" not in made.models["base"]
    (note,) = [one for one in made.notes if "Perplexity" in one]
    assert note.startswith("Perplexity: not available: the chat template cannot write")
    assert "System role not supported" in note
    assert made.models["base"]["exact_match"]["n"] == 4


async def test_schemas_that_cannot_be_checked_are_a_note(tmp_path: Path) -> None:
    broken: dict[str, Any] = {"type": "json_schema", "json_schema": {"schema": {"pattern": "^\\p{Lu}"}}}
    origins = [{"split": "test", "line": number, "response_format": broken} for number in (1, 2, 3)]
    made = await evaluated(dataset(tmp_path / "s", [line(n, '"refund"') for n in range(3)], origins), House())
    assert "schema_valid" not in made.models["base"]
    assert made.models["base"]["json_valid"]["n"] == 3
    assert made.notes[0].startswith("schema_valid: not taken on 3 examples")


async def test_a_picture_may_be_anywhere(data: Dataset, tmp_path: Path) -> None:
    picture = tmp_path / "new" / "folder" / "p.png"
    async with ScriptedUpstream(House()) as upstream:
        options = Options(models=("base",), url=f"{upstream.url}/v1", limit=2)
        await asyncio.to_thread(evaluate, data, options, "k", Places(places(data).result, picture))
    assert picture.is_file()
