"""`penstock evaluate` as people run it: through a real Penstock, with its scores found again in ClickHouse."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import pytest

from tests.e2e.serve import Penstock, until
from tests.e2e.stage import Stage, chat_reply
from tests.unit.finetune.evaluation.cases import dataset, line
from tests.wire.scripted import Conn, Request, json_reply

N = 12


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    lines = [line(number, "open" if number % 2 else "shut") for number in range(N)]
    return dataset(tmp_path / f"gates-{uuid.uuid4().hex[:8]}", lines).folder


async def answers(request: Request, conn: Conn) -> None:
    """gpt-4o-mini is always for "open"; the tuned model knows."""
    body = json.loads(request.body)
    number = int(body["messages"][-1]["content"].split()[1])
    known = "open" if number % 2 or body["model"] == "gpt-4o-mini" else "shut"
    await json_reply(chat_reply(known) | {"id": f"chatcmpl-{uuid.uuid4().hex}"})(request, conn)


def test_scores_are_found_again_with_the_calls_they_are_of(proxy: Penstock, stage: Stage, folder: Path) -> None:
    stage.play(answers)
    arguments = ["evaluate", str(folder), "--models", "gpt-4o-mini,gpt-tuned", "--url", proxy.base_url]
    done = proxy.command(*arguments, "--out", str(folder / "e.json"), "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    assert made["models"]["gpt-4o-mini"]["label_accuracy"]["mean"] == 0.5
    assert made["compared"]["gpt-tuned"]["label_accuracy"]["p_alone"] == pytest.approx(2 / 2**6)
    assert made["models"]["gpt-4o-mini"]["cost_usd"]["total"] == pytest.approx(
        sum(row["cost"] for row in proxy.wait_rows(
            "tags['evaluation'] = {id:String} AND model = 'gpt-4o-mini'", {"id": made["id"]}, N
        ))
    )  # fmt: skip
    per_answer = 4
    assert made["recorded"] == 2 * N * per_answer

    def scored() -> list[dict[str, object]]:
        return proxy.query(
            """
            SELECT g.model AS model, e.gen_ai.evaluation.name AS name, count() AS answers,
                avg(e.gen_ai.evaluation.score.value) AS mean, countIf(g.response_id = e.gen_ai.response.id) AS linked
            FROM evaluations AS e JOIN generations AS g USING (request_id)
            WHERE e.run = {id:String} GROUP BY model, name ORDER BY model, name
            """,
            {"id": made["id"]},
        )

    rows = until(scored, lambda rows: sum(int(str(row["answers"])) for row in rows) >= made["recorded"], 60)
    found = {(row["model"], row["name"]): (row["answers"], row["linked"], row["mean"]) for row in rows}
    assert found["gpt-4o-mini", "label_accuracy"] == (N, N, 0.5)
    assert found["gpt-tuned", "label_accuracy"] == (N, N, 1.0)
    assert len(found) == 2 * per_answer


def test_a_person_sees_a_table_and_a_real_model_is_measured_as_far_as_it_can_be(
    proxy: Penstock, model: object, folder: Path
) -> None:
    name = "smollm2-135m-instruct"
    arguments = ["evaluate", str(folder), "--models", name, "--url", proxy.base_url, "--limit", "2"]
    more = ["--max-tokens", "4", "--metrics", "token_f1,perplexity", "--out", str(folder / "e.json")]
    done = proxy.command(*arguments, *more)
    assert done.returncode == 0, done.stderr
    assert f"Perplexity of {name}: not available, the server gives no log probabilities of a prompt." in done.stdout
    assert f"{name} (baseline)" in done.stdout
    assert "latency p50 / p95" in done.stdout
    assert "2 scores are in ClickHouse" in done.stdout
