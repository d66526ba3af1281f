from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from proxy.configuration import ConfigurationError, KeyRing, bind_problem, load, problems, without_secrets
from proxy.credentials import hash_key
from proxy.settings import Settings

Loader = Callable[..., Settings]

EXAMPLE = """
[server]
host = "127.0.0.1"
port = 4100
workers = 1
data_dir = "penstock-data"        # spool, cache, queue, embedded store
keys = ["sha256:HASH", "env:TEAM_KEY"]  # accepted proxy keys; none: open, on loopback only
on_disconnect = "cancel"          # or "drain"

[[upstreams]]
name = "openai"
base_url = "https://api.openai.com/v1"
api_key = "env:OPENAI_API_KEY"    # absent: the caller's own key is passed through
models = ["*"]                    # patterns; first match wins
batch = "provider"                # or "local", "none"

[store]
clickhouse = "embedded"           # or "http://user:password@host:8123/database"
retention_days = 90
http_port = 8123                  # the embedded store's own ClickHouse interface

[record]
content = "full"                  # or "redacted", "off"

[[otlp]]
endpoint = "http://127.0.0.1:4318/v1/traces"
headers = { authorization = "env:OTLP_AUTH" }

[prices]                          # overrides, USD per million tokens
"""
ENVIRON = {
    "TEAM_KEY": "team-key",
    "OPENAI_API_KEY": "sk-upstream",
    "OTLP_AUTH": "Basic abc",
    "CH": "p@ss/word",
    "SEAL": "a long enough secret",
    "SHORT": "short",
    "WHSEC": "whsec_no base64",
}
UPSTREAM = '[[upstreams]]\nname = "a"\nbase_url = "https://api.openai.com/v1"\n'


@pytest.fixture
def loader(tmp_path: Path) -> Loader:
    def read(text: str, overrides: Mapping[str, object] | None = None) -> Settings:
        path = tmp_path / "penstock.toml"
        path.write_text(text)
        return load(path, overrides or {}, ENVIRON)

    return read


def test_no_file_is_a_valid_file() -> None:
    settings = load(None, {}, {})
    assert settings == Settings()
    assert problems(settings) == []
    assert bind_problem(settings, insecure=False) is None


def test_the_example_of_the_documentation(loader: Loader) -> None:
    settings = loader(EXAMPLE.replace("HASH", "Ab" * 32))
    assert settings.server.keys == ("sha256:" + "ab" * 32, hash_key("team-key"))
    assert KeyRing.of(settings.server.keys).key_id("team-key") == hash_key("team-key")[7:15]
    assert settings.upstreams[0].api_key == "sk-upstream"
    assert settings.otlp[0].headers == {"authorization": "Basic abc"}
    assert problems(settings) == []


def test_settings_travel_to_a_child_as_json(loader: Loader) -> None:
    settings = loader(EXAMPLE.replace("HASH", "ab" * 32) + 'gpt = { input = 1 }\n"local/*" = { input = 0.0 }\n')
    assert msgspec.json.decode(msgspec.json.encode(settings), type=Settings) == settings


def test_what_is_printed_has_no_secrets(loader: Loader) -> None:
    text = EXAMPLE.replace("HASH", "ab" * 32).replace('"embedded"', '"http://me:env:CH@db:8123/x"')
    text += '[batch]\nurl = "postgresql://me:env:CH@db/queue"\nsecret = "env:SEAL"\nwebhook_secret = "env:SEAL"\n'
    settings = loader(text)
    assert (settings.batch.url, settings.batch.secret) == ("postgresql://me:p%40ss%2Fword@db/queue", ENVIRON["SEAL"])
    shown = repr(without_secrets(settings))
    assert "***" in shown
    assert "http://me:***@db:8123/x" in shown
    for secret in ("sk-upstream", "team-key", "Basic abc", "p@ss", "p%40ss", ENVIRON["SEAL"]):
        assert secret not in shown


def test_secret_files_are_beside_the_file(loader: Loader, tmp_path: Path) -> None:
    (tmp_path / "openai.key").write_text("sk-file\n")
    assert loader(UPSTREAM + 'api_key = "file:openai.key"').upstreams[0].api_key == "sk-file"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("http://me:env:CH@db:8123/x", "http://me:p%40ss%2Fword@db:8123/x"),
        ("http://me:file:/FOLDER/pass@db:8123/x", "http://me:a%3Ab@db:8123/x"),
        ("http://me:plain@db:8123", "http://me:plain@db:8123"),
        ("https://db", "https://db"),
        ("file:url", "http://u:p@db/x"),
    ],
)
def test_the_password_of_clickhouse(loader: Loader, tmp_path: Path, written: str, read: str) -> None:
    (tmp_path / "pass").write_text("a:b")
    (tmp_path / "url").write_text("http://u:p@db/x\n")
    written = written.replace("/FOLDER", str(tmp_path))
    assert loader(f'[store]\nclickhouse = "{written}"').store.clickhouse == read


def test_the_command_line_comes_first(loader: Loader) -> None:
    settings = loader("[server]\nport = 1\nworkers = 3", {"server.port": 2, "server.host": None, "store.http_port": 0})
    assert (settings.server.port, settings.server.workers, settings.server.host) == (2, 3, "127.0.0.1")
    assert settings.store.http_port == 0
    with pytest.raises(ConfigurationError, match=r"^the command line: server.port: must be at most 65535$"):
        load(None, {"server.port": 70000}, {})


REFUSED = [
    ('[cache]\nredis = "localhost:6379"', "cache.redis: write an address such as redis://127.0.0.1:6379/0"),
    ('[cache]\nredis = "redis://:secret@db/0"', "cache.redis: write the password as env:NAME or file:PATH"),
    ('[cache]\nembeddings_url = "http://127.0.0.1/v1"', "cache.embeddings_model: say which model"),
    ('[cache]\nembeddings_url = "nowhere"\nembeddings_model = "m"', "cache.embeddings_url: must begin with http"),
    ('[cache]\nembeddings_key = "sk-1"', "cache.embeddings_key: write env:NAME or file:PATH"),
    ('[cache]\nkeys = ["pk-1"]', "cache.keys[0]: write env:NAME, file:PATH or sha256:"),
    ("[[cache.rules]]\npaths = []", "cache.rules[0]: fits nothing"),
    ("[[cache.rules]]\nmodel = 1", "cache.rules[0].model: unknown key. Did you mean models?"),
    ("[server]\nprot = 1", "server.prot: unknown key. Did you mean port?"),
    ("[serv]\nport = 1", "serv: this version has no such section. Did you mean server?"),
    ("[bath]", "bath: this version has no such section. Did you mean batch?"),
    ('[batch]\nurl = "mysql://h/queue"', "batch.url: write an address such as postgresql://user@host/database"),
    ('[batch]\nurl = "postgresql://h"', "batch.url: write an address such as postgresql://user@host/database"),
    ('[batch]\nurl = "postgresql://u:secret@h/queue"', "batch.url: write the password as env:NAME or file:PATH"),
    ('[batch]\nurl = "postgresql://u:env:ABSENT@h/queue"', "batch.url: the environment variable ABSENT is not set"),
    ('[batch]\nsecret = "0123456789abcdef"', "batch.secret: write env:NAME or file:PATH"),
    ('[batch]\nsecret = "env:SHORT"', "batch.secret: has fewer than 16 characters"),
    ('[batch]\nwebhook_secret = "whsec_x"', "batch.webhook_secret: write env:NAME or file:PATH"),
    ('[batch]\nwebhook_secret = "env:WHSEC"', "batch.webhook_secret: has no base64 after whsec_"),
    ('[batch]\nwebhook_hosts = ["http://h"]', "batch.webhook_hosts[0]: write a host alone"),
    ("[batch]\npoll_s = 60\npoll_max_s = 30", "batch.poll_max_s: must not be less than batch.poll_s"),
    ("[[batch.rules]]\nmodels = []", "batch.rules[0]: fits nothing"),
    ("[[models]]", "models[0].name: is missing"),
    (UPSTREAM + 'api_kye = "x"', "upstreams[0].api_kye: unknown key. Did you mean api_key?"),
    ('[[upstreams]]\nname = "a"', "upstreams[0].base_url: is missing"),
    ('[upstreams]\nname = "a"', "upstreams: must be a list in brackets, not a table. Write [[upstreams]] above each"),
    (
        UPSTREAM + 'models = "*"',
        "upstreams[0].models: must be a list in brackets, not text in quotes. Write models =",
    ),
    ('[server]\nport = "1"', "server.port: must be a whole number, not text in quotes"),
    ("[server]\nport = -1", "server.port: must be at least 0"),
    ("server = 1", "server: must be a table, not a whole number"),
    ('[record]\ncontent = "ful"', 'record.content: must be one of "full", "redacted", "off", not \'ful\''),
    ('[prices]\na = { input = 1 }\n"b.c" = { inptu = 1 }', 'prices."b.c".inptu: unknown key. Did you mean input?'),
    (
        "[prices]\na = { input = 1, tiers = { flex = true } }",
        "prices.a.tiers.flex: must be a number, not true",
    ),
    ("[prices]\na = { input = 1 }\nb = { inptu = 1 }\n[metrics]\nport = -1", "prices.b.inptu: unknown key."),
    ("[prices]\na = { input = nan }", "prices.a.input: must be at least 0"),
    ("[server]\ndrain_timeout_s = inf", "server.drain_timeout_s: must be at most 1000000"),
    ("[server\n", "is not valid TOML: Expected ']' at the end of a table declaration (at line 1, column 8)"),
    ('[server]\nhost = ""', "server.host: write an address"),
    ('[server]\ndata_dir = ""', "server.data_dir: write a directory"),
    ('[server]\nkeys = ["hunter2"]', "server.keys[0]: write env:NAME, file:PATH or sha256:"),
    ('[server]\nkeys = ["sha256:abcd"]', "server.keys[0]: write env:NAME, file:PATH or sha256:"),
    ('[server]\nkeys = ["env:ABSENT"]', "server.keys[0]: the environment variable ABSENT is not set"),
    (UPSTREAM + UPSTREAM, 'upstreams[1].name: upstreams[0] is already called "a"'),
    (UPSTREAM + 'api_key = "sk-hunter2"', "upstreams[0].api_key: write env:NAME or file:PATH"),
    (UPSTREAM + 'api_key = "env:ABSENT"', "upstreams[0].api_key: the environment variable ABSENT is not set"),
    (UPSTREAM + "models = []", "upstreams[0].models: without a pattern nothing is sent there"),
    (UPSTREAM + 'ca_file = "/absent.pem"', "upstreams[0].ca_file: there is no file /absent.pem"),
    ("upstreams = []", "upstreams: at least one is needed"),
    ('[store]\nclickhouse = "localhost:8123"', 'store.clickhouse: write "embedded" or http://'),
    ('[store]\nclickhouse = "http://"', "store.clickhouse: is not an address"),
    ('[store]\nclickhouse = "http://h/a/b"', "store.clickhouse: the path is the name of one database"),
    ('[store]\nclickhouse = "http://me:env:ABSENT@h"', "store.clickhouse: the environment variable ABSENT is not set"),
    ('[store]\nclickhouse = "env:CH"', "store.clickhouse: the secret is not an http(s):// address"),
    ('[record]\nredact = ["a", "("]', "record.redact[1]: is not a usable regular expression"),
    ("[spool]\nbytes_max = 100", "spool.bytes_max: must hold at least two segments"),
    ('[[otlp]]\nendpoint = "localhost:4318"', "otlp[0].endpoint: write an address such as http://"),
    ('[[otlp]]\nendpoint = "http://u:p@h/v1/traces"', "otlp[0].endpoint: must not hold a user or password"),
    ('[[otlp]]\nendpoint = "http://h/v1"\n[[otlp]]\nendpoint = "http://h/v1"', "otlp[1]: is the same as otlp[0]"),
    (
        '[[otlp]]\nendpoint = "http://h"\nheaders = { authorization = "x" }',
        "otlp[0].headers.authorization: looks like",
    ),
    ('[[otlp]]\nendpoint = "http://h"\nheaders = { x-a = "Bearer x" }', "otlp[0].headers.x-a: looks like a credential"),
    ('[[otlp]]\nendpoint = "http://h"\nheaders = { "x y" = "1" }', 'otlp[0].headers."x y": is not a header name'),
    (
        '[[otlp]]\nendpoint = "http://h"\nheaders = { b = "1", a = 1 }',
        "otlp[0].headers.a: must be text in quotes",
    ),
]


@pytest.mark.parametrize(("text", "says"), REFUSED)
def test_a_fault_is_one_line_with_file_key_and_remedy(loader: Loader, tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        loader(text)
    (line,) = raised.value.lines
    assert line.startswith(f"{tmp_path}/penstock.toml: {says}")
    assert "\n" not in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("api.openai.com/v1", "must begin with http:// or https://"),
        ("ftp://api.openai.com", "must begin with http:// or https://"),
        ("https://", "has no host"),
        ("https:///v1", "has no host"),
        ("https://h:99999/v1", "is not an address"),
        ("https://[::1/v1", "is not an address"),
        ("https://h/v 1", "is not an address"),
        ("https://sk-hunter2@h/v1", "must not hold a user or password; use api_key"),
        ("https://h/v1?key=hunter2", "must end with its path, without ? or #"),
        ("https://h/v1#a", "must end with its path, without ? or #"),
        ("https://h/v1?", "must end with its path, without ? or #"),
        ("https://h/v1/../x", "must not have .. in its path"),
        ("http://127.0.0.1:4100/v1", "is Penstock's own address"),
        ("http://localhost:4100/v1", "is Penstock's own address"),
        ("http://[::1]:4100/v1", "is Penstock's own address"),
    ],
)
def test_addresses_that_are_refused(loader: Loader, url: str, says: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        loader(f'[[upstreams]]\nname = "a"\nbase_url = "{url}"')
    assert f": upstreams[0].base_url: {says}" in raised.value.lines[0]
    assert "hunter2" not in str(raised.value)


def test_every_fault_has_its_line(loader: Loader) -> None:
    with pytest.raises(ConfigurationError) as raised:
        loader('[server]\nkeys = ["x"]\n' + UPSTREAM + UPSTREAM)
    assert len(raised.value.lines) == 2


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"absent\.toml: there is no such file"):
        load(tmp_path / "absent.toml", {}, {})
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        load(tmp_path, {}, {})
    (tmp_path / "latin.toml").write_bytes(b"# \xe9")
    with pytest.raises(ConfigurationError, match="is not UTF-8 text"):
        load(tmp_path / "latin.toml", {}, {})


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "::1"])
def test_loopback_needs_no_keys(host: str) -> None:
    assert bind_problem(load(None, {"server.host": host}, {}), insecure=False) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "penstock.internal", "::ffff:10.0.0.1"])
def test_beyond_loopback_keys_or_insistence_are_needed(loader: Loader, host: str) -> None:
    open_to_all = load(None, {"server.host": host}, {})
    assert re.search(r"server.keys.*--insecure", bind_problem(open_to_all, insecure=False) or "")
    assert bind_problem(open_to_all, insecure=True) is None
    assert bind_problem(loader('[server]\nkeys = ["env:TEAM_KEY"]', {"server.host": host}), insecure=False) is None


UNLIKELY = [
    (UPSTREAM + UPSTREAM.replace('"a"', '"b"'), 'upstreams[1].models: "*" is never reached, upstream a comes first'),
    (UPSTREAM + UPSTREAM.replace('"a"', '"b"') + 'models = ["gpt-*"]', 'upstreams[1].models: "gpt-*" is never reached'),
    (UPSTREAM + 'models = ["gpt-*"]', "upstreams: calls for a model that no pattern matches get a 404"),
    (
        UPSTREAM.replace("/v1", ""),
        "upstreams[0].base_url: has no path; the API is probably at https://api.openai.com/v1",
    ),
    (UPSTREAM.replace("api.openai.com", "llm.acme.internal"), "upstreams[0]: who serves it is not known, so its calls"),
    (UPSTREAM + 'provider = "opnai"', 'upstreams[0]: "opnai" is not in the price list'),
    (
        UPSTREAM.replace("https", "http") + 'provider = "openai"',
        "upstreams[0].base_url: keys and text travel",
    ),
    ('[server]\nkeys = ["env:TEAM_KEY"]', "upstreams[0]: has no api_key while server.keys are set"),
    ('[store]\nclickhouse = "http://me:x@db"', "store.clickhouse: password and text travel unencrypted to db"),
    ("[server]\nport = 8123", "store.http_port: 8123 is also server.port"),
    ('[record]\nredact = ["a"]', "record.redact: has no effect without"),
    ('[store]\ncluster = "c"', "store.cluster: has no effect on the embedded store"),
    ('[store]\nwriter = "collector"', 'store.writer: with "collector" calls go to no table'),
    ("[cache]\nmemory_bytes_max = 0\ndisk_bytes_max = 0", "cache: has no tier"),
    ('[[cache.rules]]\n[[cache.rules]]\nmodels = ["x"]', "cache.rules[0]: fits every call"),
    ('[cache]\nredis = "redis://:env:TEAM_KEY@db/0"', "cache.redis: password and replies travel unencrypted to db"),
    ('[[batch.rules]]\n[[batch.rules]]\nmodels = ["x"]', "batch.rules[0]: fits every call"),
    ('[batch]\nurl = "postgresql://db/queue"', "batch.secret: is needed where several machines share a queue"),
    (UPSTREAM + 'batch = "none"\n[[batch.rules]]\nbatch = "hold"', "batch.rules: no upstream takes deferred calls"),
    (UPSTREAM + 'batch = "local"\n[batch]\nenabled = false', "batch.enabled: is false, so batch = "),
]


@pytest.mark.parametrize(("text", "says"), UNLIKELY)
def test_what_is_probably_not_meant(loader: Loader, text: str, says: str) -> None:
    (line,) = problems(loader(text))
    assert line.startswith(says)


def test_ports_that_the_system_chooses_are_never_the_same(loader: Loader) -> None:
    assert problems(loader("[server]\nport = 0\n[metrics]\nport = 0\n[store]\nhttp_port = 0")) == []


def test_local_servers_with_prices_are_fine(loader: Loader) -> None:
    text = '[[upstreams]]\nname = "local"\nbase_url = "http://127.0.0.1:8000/v1"\n[prices]\n"*" = { input = 0 }'
    assert problems(loader(text)) == []


def test_a_report_needs_only_the_store_s_secret(tmp_path: Path) -> None:
    path = tmp_path / "penstock.toml"
    path.write_text(
        '[server]\nkeys = ["env:TEAM_KEY"]\n[store]\nclickhouse = "http://u:env:PASSWORD@db:8123"\n'
        '[[upstreams]]\nname = "a"\nbase_url = "https://api.openai.com/v1"\napi_key = "env:OPENAI_API_KEY"\n'
    )
    settings = load(path, {}, {"PASSWORD": "p"}, only_store=True)
    assert settings.store.clickhouse == "http://u:p@db:8123"
    assert settings.upstreams[0].api_key == "env:OPENAI_API_KEY"
    path.write_text(path.read_text() + '[batch]\nurl = "postgresql://u:env:QUEUE@db/queue"\n')
    assert load(path, {}, {"PASSWORD": "p"}, only_store=True).batch.url == "postgresql://u:env:QUEUE@db/queue"
    with_queue = load(path, {}, {"PASSWORD": "p", "QUEUE": "q"}, only_store=True, with_queue=True)
    assert with_queue.batch.url == "postgresql://u:q@db/queue"
    with pytest.raises(ConfigurationError) as refused:
        load(path, {}, {}, only_store=True)
    assert [line for line in refused.value.lines if "PASSWORD" in line] == refused.value.lines
