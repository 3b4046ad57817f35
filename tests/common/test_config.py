from pathlib import Path

import pytest

from common.buckets import Margins
from common.config import ConfigInvalid, Settings, exchange_settings, load_settings, settings_from
from common.config.rendering import as_yaml

GOOD = """
exchanges:
  live:
    venue: binance
    endpoint: live
    accounts:
      main: {key: {env: MAIN_KEY}, secret: {file: main_secret}}
"""
ENVIRON = {"MAIN_KEY": "key-of-the-main-account"}


def refused(text: str, environ: dict[str, str] | None = None, folder: Path = Path()) -> dict[str, str]:
    """What is wrong with a text, as path -> message."""
    with pytest.raises(ConfigInvalid) as refusal:
        settings_from(text, "orderlane.yaml", folder, environ or {})
    return {".".join(problem.path): problem.message for problem in refusal.value.problems}


def paper(extra: str = "", exchange: str = "") -> str:
    return f"{extra}\nexchanges:\n  x:\n    venue: binance\n    accounts: {{main: {{}}}}\n{exchange}"


def accepted(text: str, environ: dict[str, str] | None = None) -> Settings:
    return settings_from(text, "orderlane.yaml", Path(), environ or {})


def test_without_a_file_there_is_a_paper_pool_of_two_exchanges_and_two_accounts() -> None:
    settings = load_settings(None, {})
    venues = {name: (section.venue, section.endpoint) for name, section in settings.exchanges.items()}
    assert venues == {"binance": ("binanceusdm", "paper"), "binance-spot": ("binance", "paper")}
    for section in settings.exchanges.values():
        keys = {
            name: (account.key.reveal(), account.secret.reveal())
            for name, account in section.accounts.items()
        }
        assert keys == {
            "main": ("paper-main-key", "paper-main-secret"),
            "alt": ("paper-alt-key", "paper-alt-secret"),
        }
    assert settings.redis_url.reveal() == settings.queue_redis_url.reveal() == "redis://127.0.0.1:6379/0"


def test_the_example_at_the_top_of_the_tree_holds() -> None:
    example = Path(__file__).parents[2] / "orderlane.example.yaml"
    settings = load_settings(example, {})
    assert set(settings.exchanges) == {"binance", "binance-spot"}


def test_the_live_part_of_the_example_holds_once_its_comment_signs_are_gone(tmp_path: Path) -> None:
    lines = (Path(__file__).parents[2] / "orderlane.example.yaml").read_text().splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("  # binance-live"))
    live = "\n".join(lines[:first] + [line.replace("  # ", "  ", 1) for line in lines[first:]])
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "binance_main_secret").write_text("secret-of-the-example")
    settings = settings_from(live, "orderlane.yaml", tmp_path, {"BINANCE_MAIN_KEY": "key-of-the-example"})
    assert settings.exchanges["binance-live"].accounts["main"].secret.reveal() == "secret-of-the-example"


def test_a_file_and_its_secrets_are_read_from_where_the_environment_says(tmp_path: Path) -> None:
    (tmp_path / "orderlane.yaml").write_text(GOOD, encoding="utf-8-sig")
    (tmp_path / "main_secret").write_text("  secret-of-main\n")
    settings = load_settings(None, {**ENVIRON, "ORDERLANE_CONFIG": str(tmp_path / "orderlane.yaml")})
    account = settings.exchanges["live"].accounts["main"]
    assert (account.key.reveal(), account.secret.reveal()) == ("key-of-the-main-account", "secret-of-main")
    assert account.password is None


def test_what_is_named_as_the_file_goes_before_the_environment(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(paper("pool: a"))
    assert load_settings(tmp_path / "a.yaml", {"ORDERLANE_CONFIG": str(tmp_path / "b.yaml")}).pool == "a"


def test_a_file_that_is_not_there_or_no_text_is_refused_instead_of_the_paper_pool(tmp_path: Path) -> None:
    with pytest.raises(ConfigInvalid, match=r"absent\.yaml: can't be read: no such file"):
        load_settings(tmp_path / "absent.yaml", {})
    (tmp_path / "bytes.yaml").write_bytes(b"pool: \xff\xfe")
    with pytest.raises(ConfigInvalid, match="is not text"):
        load_settings(tmp_path / "bytes.yaml", {})


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "pool: a", "exchanges:", "exchanges: {}"])
def test_a_file_without_exchanges_never_becomes_a_paper_pool_in_silence(text: str) -> None:
    assert set(refused(text)) == {"exchanges"}


def test_who_gives_a_file_without_exchanges_is_told_how_to_have_the_paper_pool() -> None:
    assert "run without a file" in refused("pool: a")["exchanges"]


def test_the_environment_goes_before_the_file_and_an_empty_variable_says_nothing() -> None:
    text = paper("redis_url: redis://file:6379/0\nlog: {level: error}\npaper_url: http://file:1")
    environ = {
        "REDIS_URL": "redis://:the-redis-password@host:6379/1",
        "RQ_REDIS_URL": "redis://queue:6379/2",
        "ORDERLANE_PAPER_URL": "http://environment:2",
        "ORDERLANE_LOG_LEVEL": "",
        "ORDERLANE_LOG_FORMAT": "json",
        "ORDERLANE_DATA_FOLDER": "elsewhere",
        "SENTRY_DSN": "https://sentrykey@sentry.example/1",
        "SENTRY_ENVIRONMENT": "live",
    }
    settings = accepted(text, environ)
    assert settings.redis_url.reveal() == environ["REDIS_URL"]
    assert settings.queue_redis_url.reveal() == environ["RQ_REDIS_URL"]
    assert settings.sentry.dsn is not None
    assert settings.sentry.dsn.reveal() == environ["SENTRY_DSN"]
    assert settings.paper_url == "http://environment:2"
    assert (settings.log.level, settings.log.format, settings.data_folder) == ("error", "json", "elsewhere")
    assert settings.sentry.environment == "live"


def test_redis_may_be_behind_sentinels() -> None:
    url = "redis+sentinel://:the-redis-password@one:26379,two:26380/prod/0"
    settings = accepted(paper(), {"REDIS_URL": url})
    assert settings.redis_url.reveal() == settings.queue_redis_url.reveal() == url


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"REDIS_URL": "http://host"}, "not a Redis URL"),
        ({"REDIS_URL": "redis://user:12/34@host"}, "percent-encoded"),
        ({"RQ_REDIS_URL": "redis://host:port"}, "not a Redis URL"),
        ({"REDIS_URL": "redis+sentinel://one:1,two:2"}, "redis+sentinel://[user:password@]host:26379"),
        ({"REDIS_URL": "redis+sentinel://one:port/prod/0"}, "not a Redis URL"),
        ({"SENTRY_DSN": "not-a-dsn"}, "https://KEY@HOST/PROJECT"),
        ({"ORDERLANE_PAPER_URL": "ftp://host"}, "http://"),
        ({"ORDERLANE_LOG_LEVEL": "loud"}, '"debug" or "error"'),
    ],
)
def test_a_wrong_variable_is_refused_under_its_own_name(environ: dict[str, str], expected: str) -> None:
    problems = refused(paper(), environ)
    assert list(problems) == list(environ)
    assert expected in problems[next(iter(environ))]


def test_all_that_is_wrong_is_said_at_once_with_file_line_value_and_what_was_expected() -> None:
    text = paper(
        "pool: a b\nlog: {levl: info, format: xml}", "    receive_window_ms: 99999\n    worker: {lanes: many}"
    )
    with pytest.raises(ConfigInvalid) as refusal:
        accepted(text)
    assert [str(problem) for problem in refusal.value.problems] == [
        "orderlane.yaml:1: pool: 'a b' is wrong: expected 1 to 64 of A-Z a-z 0-9 . _ -",
        'orderlane.yaml:2: log.levl: there is no such setting (did you mean "level"?)',
        'orderlane.yaml:2: log.format: \'xml\' is wrong: expected "auto" or "json" or "pretty"',
        "orderlane.yaml:7: exchanges.x.receive_window_ms: 99999 is wrong: expected a whole number from 100 to 60000",
        "orderlane.yaml:8: exchanges.x.worker.lanes: 'many' is wrong: expected a whole number from 1 to 10000",
    ]
    assert all(str(problem) in str(refusal.value) for problem in refusal.value.problems)


@pytest.mark.parametrize(
    ("setting", "path"),
    [
        ("pool: 7", "pool"),
        ("data_folder: ''", "data_folder"),
        ("log: loud", "log"),
        ("log: {level: null}", "log.level"),
        ("scheduler: {sync_period_seconds: true}", "scheduler.sync_period_seconds"),
        ("scheduler: {sync_period_seconds: 15.5}", "scheduler.sync_period_seconds"),
        ("scheduler: {sync_period_seconds: '15'}", "scheduler.sync_period_seconds"),
        ("scheduler: {sync_period_seconds: 015}", "scheduler.sync_period_seconds"),
        ("scheduler: {sync_period_seconds: 1:30}", "scheduler.sync_period_seconds"),
        ("sentry: {traces_sample_rate: .nan}", "sentry.traces_sample_rate"),
        ("sentry: {traces_sample_rate: 1e999}", "sentry.traces_sample_rate"),
        ("sentry: {dsn: 'https://k@h/1'}", "sentry.dsn"),
        ("redis_url: redis://:literal-password@h/0", "redis_url"),
        ("redis_url: 5", "redis_url"),
        ("paper_url: http://user:word@host", "paper_url"),
    ],
)
def test_a_wrong_value_is_refused_under_its_path(setting: str, path: str) -> None:
    assert list(refused(paper(setting))) == [path]


@pytest.mark.parametrize(
    ("setting", "path"),
    [
        ("venue: binanse", "venue"),
        ("venue: krakenfutures", "venue"),
        ("endpoint: papre", "endpoint"),
        ("endpoint: ws://host", "endpoint"),
        ("endpoint: 'http://host?x=1'", "endpoint"),
        ("accounts: {}", "accounts"),
        ("accounts: [main]", "accounts"),
        ("accounts: {'a b': {}}", "accounts.a b"),
        ("accounts: {ip: {}}", "accounts.ip"),
        ("limits: {orders_10s: a lot}", "limits.orders_10s"),
        ("limits: {orders: 1/second}", "limits.orders"),
        ("limits_safety: 1.1", "limits_safety"),
        ("disabled_strategies: grid", "disabled_strategies"),
        ("disabled_strategies: [grid, 5]", "disabled_strategies.[1]"),
        ("normalizer: {max_distance_percent: -1}", "normalizer"),
        ("normalizer: {max_distance_percent: nan}", "normalizer.max_distance_percent"),
        ("normalizer: {far_limit: market}", "normalizer"),
        ("worker: {resolve_delays_ms: []}", "worker.resolve_delays_ms"),
    ],
)
def test_a_wrong_value_of_an_exchange_is_refused_under_its_path(setting: str, path: str) -> None:
    name = setting.partition(":")[0]
    section = {
        "venue": "venue: binance",
        "accounts": "accounts: {main: {key: {env: KEY}, secret: {env: KEY}}}",
    }
    section[name] = setting
    text = "exchanges:\n  x:\n" + "".join(f"    {line}\n" for line in section.values())
    assert list(refused(text, {"KEY": "a-key-of-an-account"})) == [f"exchanges.x.{path}"]


@pytest.mark.parametrize(
    ("worker", "field"),
    [
        ("heartbeat_ms: 1000", "heartbeat_ms"),
        ("lanes: 10", "in_flight"),
        ("grace_seconds: 9.9", "grace_seconds"),
        ("resolve_delays_ms: [500, 200]", "resolve_delays_ms"),
        ("resolve_cap_ms: 1999", "resolve_cap_ms"),
    ],
)
def test_numbers_that_contradict_each_other_are_refused(worker: str, field: str) -> None:
    problems = refused(paper(exchange=f"    worker: {{{worker}}}\n"))
    assert list(problems) == [f"exchanges.x.worker.{field}"]


def test_events_may_not_go_before_a_consumer_could_see_them() -> None:
    text = paper("scheduler: {sync_period_seconds: 60, event_retention_seconds: 100}")
    assert list(refused(text)) == ["scheduler.event_retention_seconds"]


def test_numbers_at_the_very_edge_are_taken() -> None:
    worker = "heartbeat_ms: 999, lanes: 64, in_flight: 64, grace_seconds: 10, resolve_cap_ms: 2000"
    section = accepted(paper(exchange=f"    worker: {{{worker}}}\n")).exchanges["x"]
    assert section.worker.heartbeat_ms == 999
    assert section.worker.grace_seconds == 10.0


def test_a_section_with_nothing_in_it_has_its_defaults() -> None:
    settings = accepted(paper("log:\nscheduler: {}", "    worker:\n"))
    assert settings == accepted(paper())


def test_decimals_are_exact_and_limits_and_margins_reach_the_limiter() -> None:
    extra = (
        "    normalizer: {max_distance_percent: 12.3}\n"
        "    limits: {orders_10s: 50/10 seconds}\n"
        "    limits_reserve: 0.3\n"
    )
    section = accepted(paper(exchange=extra)).exchanges["x"]
    assert str(section.normalizer.max_distance_percent) == "12.3"
    assert section.limits == {"orders_10s": "50/10 seconds"}
    assert section.margins == Margins(reserve=0.3)


def test_an_exchange_opens_where_its_endpoint_says_with_its_own_keys(tmp_path: Path) -> None:
    (tmp_path / "main_secret").write_text("secret-of-main")
    live = settings_from(GOOD, "f", tmp_path, ENVIRON)
    opened = exchange_settings(live, "live")
    assert (opened.name, opened.venue, opened.endpoint, opened.base_url) == ("live", "binance", "live", None)
    assert opened.accounts["main"].key.reveal() == "key-of-the-main-account"
    on_paper = exchange_settings(
        load_settings(None, {"ORDERLANE_PAPER_URL": "http://127.0.0.1:5"}), "binance"
    )
    assert on_paper.base_url == "http://127.0.0.1:5"
    with pytest.raises(KeyError, match="expected one of live"):
        exchange_settings(live, "paper")


def test_what_holds_is_shown_whole_and_reads_back_but_for_its_secrets() -> None:
    url = "redis://me:the-redis-password@host:6379/1"
    shown = as_yaml(
        accepted(paper("sentry: {dsn: {env: DSN}}"), {"REDIS_URL": url, "DSN": "https://sentrykey@host/1"})
    )
    assert "redis://me:***@host:6379/1" in shown
    assert "lease_ms: 2000" in shown
    assert "far_limit: refuse" in shown
    for secret in ("the-redis-password", "sentrykey", "paper-main-key", "paper-main-secret"):
        assert secret not in shown
