"""What is no plain condition gets nowhere near a row, whichever of the two readings is asked."""

from __future__ import annotations

import random

import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import DatabaseError

from exporters.clickhouse.sink import ClickHouseSink
from exporters.datasets.errors import DatasetError
from exporters.datasets.selecting import predicate
from exporters.datasets.selecting.functions import FUNCTIONS
from tests.e2e.clickhouse.a_dataset import Planted
from tests.stores import Store

INJECTIONS = [
    "1) OR (1",
    "1 = 1) -- ",
    "1 = 1) # ",
    "1 = 1 /* ",
    "1); DROP TABLE generations; --",
    "1 = 1; SELECT 1",
    "model IN (SELECT model FROM generations)",
    "EXISTS (SELECT 1)",
    "(SELECT count() FROM feedback) > 0",
    "model = ANY (SELECT 'x')",
    "model IN feedback",
    "model IN (feedback)",
    "model IN penstock.feedback",
    "model IN `feedback`",
    "model NOT IN feedback",
    "1) UNION ALL SELECT (1",
    "1) SETTINGS readonly = (0",
    "1) FORMAT (Null",
    "1) INTO OUTFILE '/tmp/x' FORMAT CSV --",
    "1 SETTINGS max_threads = 1",
    "file('/etc/passwd') != ''",
    "dictGet('d', 'a', 1) = 1",
    "joinGet('penstock.t', 'a', 1) = 1",
    "hasColumnInTable('host', 'user', 'pw', 'd', 't', 'c')",
    "getSetting('max_threads') > 0",
    "currentUser() = 'default'",
    "hostName() != ''",
    "@@version != ''",
    "sleep(3) = 0",
    "now() > timestamp",
    "rand() % 2 = 0",
    "count() > 0",
    "count() OVER () > 0",
    "sum(cost) OVER (PARTITION BY model) > 1",
    "arrayJoin([0, 1]) = 1",
    "quantile(0.5)(cost) > 1",
    "*",
    "tuple(*) = tuple(1)",
    "COLUMNS('.*') = 1",
    "model = 'x' AS m",
    "model, upstream",
    "{secret:String} = 'x'",
    "model = 'x",
    'model = "x',
    "(model = 'x'",
    "executable('rm -rf /') = 1",
    "evalMLMethod(1, 2) = 1",
    "runningAccumulate(1) = 1",
    "blockNumber() = 0",
    "arrayExists(x -> x IN (SELECT 1), [1])",
    "arrayMap(x -> file(x), ['a']) = []",
    "modelx = 'x' OR ignore(generations.model)",
    "WITH 1 AS x SELECT x",
    "",
]

CONDITIONS = [
    "model LIKE 'gpt-5%' AND tags['app'] = 'support'",
    "NOT (status = 500 OR outcome IN ('failed', 'rejected')) AND cost IS NULL",
    "length(input_messages) BETWEEN 1 AND 5000",
    "arrayExists(reason -> reason ILIKE 'st%', finish_reasons)",
    "has(mapKeys(tags), 'app') OR tags.keys[1] = 'x'",
    "toDate(timestamp) >= '2026-01-01' AND timestamp < '2027-01-01 00:00:00' AND timestamp > toDateTime('2026-01-01')",
    "output_tokens / input_tokens > 0.5 AND duration_ms < 1e4 AND -1 < attempts % 2",
    "CASE WHEN stream THEN ttft_ms < 500 ELSE duration_ms < 1000 END",
    "CAST(status AS String) = '200' AND status::String != '500'",
    "JSONExtractFloat(parameters, 'temperature') <= 1",
    "match(user, '^[a-z]+$') AND positionCaseInsensitive(output_messages, 'sorry') = 0",
    "session = 'it''s; -- /* # SELECT' OR session = 'a\\'b' OR session = \"user\" OR `session` = ')'",
    "date_diff('day', timestamp, toDateTime('2026-12-01')) > 3 AND toHour(timestamp) IN (9, 10)",
    "cityHash64(request_id) % 10 = 0",
    "stream ? true : false",
    "session = '{x:String}' OR session = '%(y)s' OR session = '$z$' OR session = '{score_name:String}'",
    "(model, upstream) IN (('a', 'b'), ('c', 'd'))",
    "ifNull(score, 0) >= 0 AND NOT mapContains(scores, 'x') AND label != 'bad' AND labels['x'] = ''",
]


@pytest.fixture(scope="module")
def planted(store: Store) -> Planted:
    from tests.e2e.clickhouse.conftest import Settings

    made = Planted(store, ClickHouseSink(store.url(), Settings()))
    made.write(made.call("a"))
    made.sink.close()
    return made


def tree(client: Client, where: str) -> str:
    return "\n".join(line for (line,) in client.query(predicate.question(where)).result_rows)


@pytest.mark.parametrize("where", [where for where in INJECTIONS if where])
def test_an_injection_is_refused(planted: Planted, where: str) -> None:
    with pytest.raises(DatasetError) as caught:
        planted.source(where=where).slices()
    assert "No generation" not in str(caught.value)


@pytest.mark.parametrize("where", INJECTIONS)
def test_the_engines_reading_alone_would_refuse_it_too(client: Client, where: str) -> None:
    try:
        found = tree(client, where)
    except DatabaseError:
        return
    with pytest.raises(DatasetError):
        predicate.check_columns(predicate.mentioned(found), {"model", "upstream", "cost", "timestamp"})


@pytest.mark.parametrize("where", CONDITIONS)
def test_a_plain_condition_is_understood(planted: Planted, where: str) -> None:
    source = planted.source(where=where)
    try:
        source.slices()
    except DatasetError as error:
        assert "No generation passes" in str(error)  # noqa: PT017 - that none meets it is as good
    finally:
        source.close()


def test_both_readings_agree_where_a_condition_ends(client: Client) -> None:
    dice = random.Random(11)
    pieces = [
        "(",
        ")",
        "[",
        "]",
        "'",
        '"',
        "`",
        "\\",
        "--",
        "/*",
        "*/",
        "#",
        " ",
        "\n",
        "a",
        "''",
        "1",
        "=",
        " or ",
        ",",
    ]
    understood = 0
    for _ in range(4000):
        where = "".join(dice.choices(pieces, k=dice.randint(2, 9)))
        try:
            where = predicate.checked(where)
            found = tree(client, where)
        except (DatasetError, DatabaseError):
            continue
        understood += 1
        try:
            predicate.mentioned(found)
        except DatasetError as error:
            assert "is not one expression" not in str(error) or "," in where  # noqa: PT017
    assert understood > 20


def test_a_condition_stays_in_its_parentheses(planted: Planted) -> None:
    assert planted.names(where="model = 'none' OR 1 = 1") == ["a"]
    with pytest.raises(DatasetError, match="0  user nobody"):
        planted.source(users=("nobody",), where="1 = 1 OR 1 = 1").slices()


def test_what_is_wrong_with_a_condition_is_said(planted: Planted) -> None:
    complaints = {
        "modle = 'x'": "a column that does not exist: modle. Did you mean model",
        "arrayExists(x -> y = x, [1])": "does not exist: y",
        "model > 5": "cannot be evaluated: .*supertype",
        "model": "cannot be evaluated",
        "now() > timestamp": "calls now, which is not among the functions",
        "model = 'x": "a text that does not end at position 9",
        "model IN (SELECT 1)": r"a subquery or another clause of SQL \(SELECT\)",
        "model ~ 'x'": "the character '~' at position 7",
    }
    for where, complaint in complaints.items():
        with pytest.raises(DatasetError, match=complaint) as caught:
            planted.source(where=where).slices()
        assert "\n" not in str(caught.value)
        assert planted.key not in str(caught.value)


def test_functions_that_are_let_in_are_plain_functions_of_their_arguments(client: Client) -> None:
    known = {
        str(name).lower(): (aggregate, deterministic)
        for name, aggregate, deterministic in client.query(
            "SELECT name, is_aggregate, deterministic FROM system.functions"
        ).result_rows
    }
    found = {name: known[name] for name in FUNCTIONS if name in known}
    assert set(found.values()) == {(0, 1)}
    # What the parser makes something else of, before it is a call.
    assert FUNCTIONS - found.keys() == {"between", "date_add", "date_sub", "dateadd", "datesub", "lambda"}
