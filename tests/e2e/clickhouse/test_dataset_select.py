"""Generations are selected by every filter, with what feedback says, each once and in order."""

from __future__ import annotations

import json
import pickle
import random
import secrets
from typing import Any

import pytest
from clickhouse_connect.driver.client import Client

from exporters.clickhouse.sink import ClickHouseSink
from exporters.datasets.errors import DatasetError
from exporters.datasets.example import Row
from exporters.datasets.options import Options, Select
from exporters.datasets.selecting.select import ClickHouseSource
from exporters.datasets.selecting.sieve import Sieve
from tests.e2e.clickhouse.a_dataset import START_NS, Planted, read
from tests.e2e.clickhouse.spans_in import collector_row, insert_as_collector
from tests.stores import Store

MINUTE_NS = 60 * 10**9


@pytest.fixture
def planted(store: Store, sink: ClickHouseSink) -> Planted:
    return Planted(store, sink)


def test_a_row_has_all_that_was_recorded(planted: Planted) -> None:
    record = planted.call("whole", prompt_name="greet", prompt_version="3", tags={"app": "support"}, cost=0.25)
    planted.write(record)
    [row] = planted.rows()
    same = {name: getattr(record, name) for name in Row.__struct_fields__ if hasattr(record, name)}
    same |= {"model": record.request_model, "timestamp_ns": record.start_ns}
    same |= {"parameters": row.parameters}
    assert json.loads(row.parameters) == record.parameters
    assert row == Row(**same)


FILTERS: list[dict[str, Any]] = [
    {"models": ("gpt-5_mini",)},
    {"models": ("gpt-5_*",)},
    {"models": ("*nano", "o3")},
    {"models": ("answered-by-*",)},
    {"upstreams": ("main",)},
    {"users": ("ann", "b*")},
    {"users": ("",)},
    {"users": ("100%",)},
    {"users": ("o'hara\\n", 'say "hi"')},
    {"sessions": ("s1",)},
    {"tags": ("app=support",)},
    {"tags": ("app", "team=a*")},
    {"tags": ("app=",)},
    {"prompts": ("greet",)},
    {"prompts": ("greet@2", "part*")},
    {"outcomes": ("failed",)},
    {"outcomes": ()},
    {"finish_reasons": ("length", "content*")},
    {"input_tokens_max": 100},
    {"output_tokens_min": 50, "output_tokens_max": 70},
    {"cost_max": 0.01},
    {"since_ns": START_NS + 5 * MINUTE_NS, "until_ns": START_NS + 9 * MINUTE_NS},
    {"models": ("gpt*",), "users": ("ann",), "tags": ("app",)},
]


@pytest.fixture(scope="module")
def varied(store: Store) -> Planted:
    """Forty calls of all sorts."""
    from tests.e2e.clickhouse.conftest import Settings

    dice = random.Random(7)
    planted = Planted(store, ClickHouseSink(store.url(), Settings()))
    users = ["ann", "bob", "", "100%", "1000", "o'hara\\n", 'say "hi"', "o'hara\n"]
    calls = [
        planted.call(
            str(number),
            at_ns=dice.randrange(12) * MINUTE_NS + number,
            request_model=dice.choice(["gpt-5_mini", "gpt-5xmini", "gpt-5-nano", "o3"]),
            response_model=dice.choice(["", "answered-by-x"]),
            upstream=dice.choice(["main", "other"]),
            user=dice.choice(users),
            session=dice.choice(["s1", "s2", ""]),
            tags=dice.choice([{}, {"app": "support", "team": "ab"}, {"app": ""}, {"app": "sales"}]),
            prompt_name=dice.choice(["greet", "part", ""]),
            prompt_version=dice.choice(["1", "2", ""]),
            outcome=dice.choice(["answered", "cached", "failed"]),
            finish_reasons=dice.choice([["stop"], ["length"], ["content_filter", "stop"], []]),
            input_tokens=dice.choice([None, 10, 100, 1000]),
            output_tokens=dice.choice([None, 10, 50, 70, 71]),
            cost=dice.choice([None, 0.001, 0.01, 0.1]),
        )
        for number in range(40)
    ]
    planted.write(*calls)
    planted.sink.close()
    return planted


@pytest.mark.parametrize("filters", FILTERS, ids=lambda filters: ",".join(filters))
def test_the_store_and_files_mean_the_same_by_a_filter(varied: Planted, filters: dict[str, Any]) -> None:
    every = varied.rows(outcomes=())
    wanted = [row.request_id for row in every if Sieve(Select(**filters)).passes(row)]
    assert [row.request_id for row in varied.rows(**filters)] == wanted
    assert 0 < len(wanted) < 40 or filters == {"outcomes": ()}


def test_the_newest_opinion_counts_whichever_id_it_names(planted: Planted) -> None:
    planted.write(*[planted.call(name, at_ns=number) for number, name in enumerate("abcd")])
    planted.say(
        planted.opinion("a", at_ns=2, score=0.2, label="bad"),
        planted.opinion("a", at_ns=1, score=0.9, label="good", response_id=f"reply-{planted.key}-d"),
        planted.opinion("a", at_ns=3, comment="says nothing of the rest"),
        planted.opinion(at_ns=5, response_id=f"reply-{planted.key}-b", score=0.7, correction='["x"]'),
        planted.opinion("b", at_ns=4, score=0.1, correction='["y"]'),
        planted.opinion("c", at_ns=1, name="tone", score=0.5, label="kind"),
        planted.opinion("c", at_ns=2, name="facts", score=0.3, label="wrong"),
    )
    said = [(row.score, row.label, row.correction) for row in planted.rows()]
    assert said == [(0.2, "bad", ""), (0.7, "", '["x"]'), (0.3, "wrong", ""), (None, "", "")]
    of_tone = [(row.score, row.label) for row in planted.rows(score_name="tone")]
    assert of_tone == [(None, ""), (None, ""), (0.5, "kind"), (None, "")]


def test_an_opinion_that_was_sent_again_replaces_itself(planted: Planted) -> None:
    planted.write(planted.call("a"))
    planted.say(planted.opinion("a", id=f"{planted.key}-fb", at_ns=1, score=0.9))
    planted.say(planted.opinion("a", id=f"{planted.key}-fb", at_ns=1, score=0.4))
    assert [row.score for row in planted.rows()] == [0.4]


def test_rows_are_chosen_by_what_was_said_of_them(planted: Planted) -> None:
    planted.write(*[planted.call(name, at_ns=number, tags={"n": name}) for number, name in enumerate("abcd")])
    planted.say(
        planted.opinion("a", at_ns=1, name="helpful", score=0.9, label="good"),
        planted.opinion("b", at_ns=1, name="helpful", score=0.5, label="fair"),
        planted.opinion("b", at_ns=2, name="tone", score=0.95, label="polite"),
    )
    assert planted.names(score_min=0.6) == ["a", "b"]
    assert planted.names(score_min=0.6, score_name="helpful") == ["a"]
    assert planted.names(labels=("go*", "polite")) == ["a", "b"]
    assert planted.names(where="score >= 0.92") == ["b"]
    assert planted.names(where="scores['helpful'] >= 0.8") == ["a"]
    assert planted.names(where="scores['helpful'] >= 0.8 OR tags['n'] = 'd'") == ["a", "d"]
    assert planted.names(where="labels['helpful'] = 'fair' AND label = 'polite'") == ["b"]
    assert planted.names(where="score IS NULL AND NOT mapContains(scores, 'tone')") == ["c", "d"]


def slice_of(planted: Planted, **limits: int) -> list[list[Row]]:
    source = planted.source(limits)
    slices = source.slices()
    assert [part.number for part in slices] == list(range(len(slices)))
    found = [list(source.read(part)) for part in slices]
    source.close()
    return found


def test_an_evaluation_speaks_where_nobody_did_and_only_by_its_name(planted: Planted) -> None:
    planted.write(*[planted.call(name, at_ns=number) for number, name in enumerate("abc")])
    judged = {"kind": "evaluation", "run": "e1", "name": "exact"}
    planted.say(
        planted.opinion("a", at_ns=1, name="exact", score=0.9, label="fine"),
        planted.opinion("a", at_ns=9, score=0.0, label="fail", **judged),
        planted.opinion("b", at_ns=2, score=0.7, label="pass", **judged),
        planted.opinion("b", at_ns=1, score=0.1, label="fail", **judged),
    )
    assert [(row.score, row.label) for row in planted.rows()] == [(0.9, "fine"), (None, ""), (None, "")]
    by_name = [(row.score, row.label) for row in planted.rows(score_name="exact")]
    assert by_name == [(0.9, "fine"), (0.7, "pass"), (None, "")]
    assert planted.names(where="scores['exact'] >= 0.8") == ["a"]
    assert planted.names(where="labels['exact'] = 'pass'") == ["b"]
    assert planted.names(score_min=0.6) == ["a"]


def test_slices_hold_every_row_once_and_in_order(planted: Planted) -> None:
    dice = random.Random(3)
    moments = [dice.randrange(20) * MINUTE_NS + dice.randrange(3) * 10**9 for _ in range(120)]
    planted.write(*[planted.call(f"{number:03}", at_ns=at) for number, at in enumerate(moments)])
    found = slice_of(planted, slice_rows_max=9)
    assert len(found) > 12
    assert max(map(len, found)) <= 9
    rows = [row for part in found for row in part]
    assert len(rows) == 120
    assert rows == sorted(rows, key=lambda row: (row.timestamp_ns, row.request_id))
    assert rows == planted.rows()


def test_what_time_cannot_cut_is_cut_by_a_hash(planted: Planted) -> None:
    planted.write(*[planted.call(f"{number:03}") for number in range(90)])
    found = slice_of(planted, slice_rows_max=30)
    assert len(found) == 3
    assert all(5 <= len(part) <= 60 for part in found), "30 by chance, of ids that are others each time"
    assert len({row.request_id for part in found for row in part}) == 90


def test_a_slice_holds_no_more_bytes_than_the_store_can_sort(planted: Planted) -> None:
    calls = [
        planted.call(str(number), at_ns=number * MINUTE_NS, request_bytes=1000, stream=False) for number in range(8)
    ]
    planted.write(*calls)
    assert [len(part) for part in slice_of(planted, slice_bytes_max=6000)] == [2, 2, 2, 2]


def test_a_row_that_came_twice_is_read_once(planted: Planted) -> None:
    calls = [planted.call(name) for name in "abc"]
    planted.write(*calls)
    planted.write(*calls[1:])
    assert planted.names() == ["a", "b", "c"]


def test_rows_and_opinions_that_come_meanwhile_change_nothing(planted: Planted) -> None:
    planted.write(planted.call("a"), planted.call("b", at_ns=5))
    planted.say(planted.opinion("a", at_ns=1, score=0.5))
    source = planted.source()
    slices = list(source.slices())
    newer = planted.call("c", start_ns=START_NS + 9 * MINUTE_NS * 1000, end_ns=START_NS + 9 * MINUTE_NS * 1000)
    planted.write(newer)
    planted.say(planted.opinion("a", at_ns=9 * MINUTE_NS * 10**4, score=0.9))
    assert [(row.request_id[-1], row.score) for row in read(source, slices)] == [("a", 0.5), ("b", None)]


def test_without_an_end_the_newest_row_is_the_last(planted: Planted, client: Client) -> None:
    newest = client.query("SELECT toUnixTimestamp64Nano(max(timestamp)) FROM generations").result_rows[0][0]
    now = max(newest, START_NS) + 1
    planted.write(planted.call("a", start_ns=now, end_ns=now))
    source = planted.source()
    slices = list(source.slices())
    planted.write(planted.call("b", start_ns=now + 1, end_ns=now + 1))
    assert [row.request_id for row in read(source, slices)] == [f"{planted.key}-a"]


def test_spans_of_others_have_an_id_too(planted: Planted, client: Client) -> None:
    attributes = {
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "gpt-5",
        "gen_ai.input.messages": '[{"role":"user","parts":[]}]',
        "user.id": planted.key,
    }
    sent = [collector_row(attributes) for _ in range(2)]
    insert_as_collector(client, sent)
    found = planted.rows(keys=(), users=(planted.key,))
    assert {row.request_id for row in found} == {f"{row['TraceId']}:{row['SpanId']}" for row in sent}
    assert {row.endpoint for row in found} == {"chat"}


def test_text_that_is_no_utf8_is_mended(planted: Planted, client: Client) -> None:
    client.command(
        "INSERT INTO generations (timestamp, request_id, key_id, outcome, content, user, input_messages) SELECT "
        f"now64(9), 'b', '{planted.key}', 'answered', 'full', unhex('61ff62'), '[]'"
    )
    assert [row.user for row in planted.rows(users=("a*",))] == ["a\ufffdb"]


def test_a_source_goes_to_another_process_without_its_connection(planted: Planted) -> None:
    planted.write(planted.call("a"))
    source = planted.source(where="model != ''")
    slices = list(source.slices())
    sent = pickle.loads(pickle.dumps(source))
    source.close()
    assert [row.request_id for row in read(sent, slices)] == [f"{planted.key}-a"]
    assert planted.store.url("reader").split("@")[0] not in repr(source)


def test_without_rows_it_is_said_which_filter_is_to_blame(planted: Planted) -> None:
    planted.write(*[planted.call(name, request_model="gpt-5") for name in "abc"])
    with pytest.raises(DatasetError) as caught:
        planted.source(models=("gpt-5*",), users=("nobody",), where="status = 200").slices()
    head, _, *lines = str(caught.value).splitlines()
    assert head == "No generation passes all filters. Left after each in turn:"
    assert lines[0].split(maxsplit=1)[1] == "model gpt-5*"
    assert lines[1:] == [f"  {3:>13,}  key_id {planted.key}", f"  {0:>13,}  user nobody"]


def test_an_empty_time_range_says_what_there_is(planted: Planted) -> None:
    planted.write(planted.call("a"))
    with pytest.raises(DatasetError, match=r"(?s) 0  in the time range\nThere are [0-9,]+ generations at http"):
        planted.source(since_ns=1, until_ns=2).slices()


def test_calls_that_are_a_little_too_young_are_said_to_be(planted: Planted) -> None:
    planted.write(planted.call("a"))
    newest_ns = planted.source()._newest("generations")
    with pytest.raises(DatasetError, match=r"Newer ones than \d\d:\d\d:\d\d UTC may still be arriving: build again"):
        planted.source(since_ns=newest_ns, until_ns=newest_ns).slices()
    with pytest.raises(DatasetError) as caught:
        planted.source(since_ns=1, until_ns=2).slices()
    assert "arriving" not in str(caught.value)


def test_rows_without_content_say_what_to_set(planted: Planted) -> None:
    off = {"content": "off", "input_messages": None, "output_messages": None}
    planted.write(*[planted.call(name, **off) for name in "abc"])
    with pytest.raises(DatasetError, match=r"None of the 3 generations .*content = \"full\"") as caught:
        planted.source().slices()
    assert "\n" not in str(caught.value)
    planted.write(planted.call("d"))
    assert planted.names() == ["a", "b", "c", "d"]


def test_a_user_who_may_write_is_asked_to_read_only(planted: Planted) -> None:
    planted.write(planted.call("a"))
    source = ClickHouseSource(planted.store.url("writer"), Options(name="x", select=Select(keys=(planted.key,))))
    slices = list(source.slices())
    assert source._client is not None
    assert source._client.get_client_setting("readonly") == "2"
    assert len(read(source, slices)) == 1


def test_a_store_that_is_away_is_one_line_without_the_password() -> None:
    source = ClickHouseSource("http://me:secret@127.0.0.1:9/penstock", Options(name="x"))
    with pytest.raises(DatasetError, match=r"cannot be reached") as caught:
        source.slices()
    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_answer_that_breaks_off_is_an_error_without_what_was_said(planted: Planted) -> None:
    secret = secrets.token_hex(8)
    planted.write(*[planted.call(str(number), at_ns=number, session="7") for number in range(3)])
    source = planted.source(where="toInt32(session) > 0")
    slices = source.slices()
    planted.write(planted.call("1b", at_ns=1, session=secret))
    with pytest.raises(DatasetError) as caught:
        read(source, list(slices))
    assert secret not in str(caught.value)
