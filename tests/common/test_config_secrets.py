"""Where secrets come from, and that no message about a configuration holds one."""

from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner

from common.config import ConfigInvalid, settings_from
from common.config.__main__ import main
from common.secrets import scrub

PLANTED = "0PlantedSecret0PlantedSecret0"
"""Where a text is tried as a secret; `fresh` makes it a word that the process hasn't learnt to hide before."""
ACCOUNT = "exchanges:\n  x:\n    venue: okx\n    endpoint: {endpoint}\n    accounts:\n      main: {account}\n"


def fresh(text: str) -> tuple[str, str]:
    """A text with a word of its own in the place of PLANTED, and the word."""
    word = f"0Planted{sha256(text.encode()).hexdigest()[:16]}"
    return text.replace(PLANTED, word), word


def message(
    account: str, endpoint: str = "live", folder: Path = Path(), environ: dict[str, str] | None = None
) -> str:
    with pytest.raises(ConfigInvalid) as refusal:
        settings_from(ACCOUNT.format(account=account, endpoint=endpoint), "file", folder, environ or {})
    texts = [str(refusal.value), *(str(problem) for problem in refusal.value.problems), repr(refusal.value)]
    return "\n".join([*texts, repr(refusal.value.problems)])


@pytest.mark.parametrize("endpoint", ["live", "testnet", "https://exchange.example"])
def test_a_key_written_into_the_file_is_refused_unseen_and_hidden_from_then_on(endpoint: str) -> None:
    word = f"literal-{endpoint}-key"
    text = message(f"{{key: {word}, secret: {{env: NOT_SET}}}}", endpoint)
    assert "accounts.main.key: a secret does not stand in this file" in text
    assert "the environment variable NOT_SET is not set" in text
    assert word not in text
    assert scrub(word) == "***"


def test_on_the_paper_exchange_keys_may_be_literal_or_left_out() -> None:
    settings = settings_from(
        ACCOUNT.format(account="{key: my-own-key}", endpoint="paper"), "file", Path(), {}
    )
    account = settings.exchanges["x"].accounts["main"]
    assert (account.key.reveal(), account.secret.reveal()) == ("my-own-key", "paper-main-secret")


def test_paper_keys_never_reach_a_live_account_that_shares_its_text_by_an_alias() -> None:
    text = "exchanges:\n" + "".join(
        f"  {name}:\n    venue: binance\n    endpoint: {name}\n    accounts: {accounts}\n"
        for name, accounts in (("paper", "&them {main: {}}"), ("live", "*them"))
    )
    with pytest.raises(ConfigInvalid, match=r"live\.accounts\.main\.key: missing") as refusal:
        settings_from(text, "file", Path(), {})
    assert len(refusal.value.problems) == 2


@pytest.mark.parametrize(
    "account",
    [
        PLANTED,
        f"[{PLANTED}]",
        f"{{key: {PLANTED}, secret: {PLANTED}}}",
        f"{{key: {{{PLANTED}}}, secret: [{PLANTED}]}}",
        f"{{key: {{env: {PLANTED}}}, secret: {{file: {PLANTED}}}}}",
        f"{{key: {{env: {PLANTED}, file: {PLANTED}}}, secret: {{env: [{PLANTED}]}}}}",
        f"{{key: {{file: nowhere/{PLANTED}}}, secret: {{envv: {PLANTED}}}}}",
        f"{{secrte: {PLANTED}, passwrod: {PLANTED}, kye: {{env: {PLANTED}}}}}",
        f"{{key: !!python/object:x {PLANTED}, secret: !vault {PLANTED}}}",
        f"{{key: '{PLANTED}\n",
        f"{{key: @{PLANTED}",
        f"{{key: {PLANTED}: {PLANTED}}}",
        f"*{PLANTED}",
    ],
)
def test_a_secret_in_any_wrong_place_of_an_account_is_in_no_message(account: str) -> None:
    written, word = fresh(account)
    assert word not in message(written)


@pytest.mark.parametrize(
    "where",
    ["redis_url: redis://:{}@h:6379/0", "redis_url: '{}'", "rq_redis_url: [{}]", "sentry: {{dsn: {}}}"],
)
def test_a_secret_in_a_url_of_the_file_is_in_no_message(where: str) -> None:
    written, word = fresh(where.format(PLANTED))
    with pytest.raises(ConfigInvalid) as refusal:
        settings_from(written, "file", Path(), {"SENTRY_DSN": ""})
    assert word not in str(refusal.value) + repr(refusal.value.problems)


@pytest.mark.parametrize(
    "url", [f"redis://:{PLANTED}/1@h", f"http://u:{PLANTED}@h", f"redis://h:{PLANTED}", PLANTED]
)
def test_a_secret_in_a_wrong_variable_is_in_no_message(url: str) -> None:
    written, word = fresh(url)
    text = ACCOUNT.format(account="{}", endpoint="paper")
    with pytest.raises(ConfigInvalid) as refusal:
        settings_from(text, "file", Path(), {"REDIS_URL": written, "SENTRY_DSN": written})
    assert {problem.path for problem in refusal.value.problems} == {("REDIS_URL",), ("SENTRY_DSN",)}
    assert word not in str(refusal.value) + repr(refusal.value.problems)


def test_a_long_wrong_value_is_cut_without_cutting_a_secret_in_half() -> None:
    password = "cut-me-" * 20
    with pytest.raises(ConfigInvalid) as refusal:
        settings_from(ACCOUNT.format(account="{}", endpoint=f"http://u:{password}@h"), "file", Path(), {})
    assert "cut-me" not in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "no such file"),
        (b"", "is empty"),
        (b" \n", "is empty"),
        (b"short\n", "too short"),
        (b"\xff\xfe\xfd\xfc\xfb\xfa\xf9\xf8\xf7", "not text"),
        (b"x" * 70_000, "expected one secret"),
    ],
)
def test_a_secret_file_that_can_not_be_one_is_refused(
    tmp_path: Path, content: bytes | None, expected: str
) -> None:
    if content is not None:
        (tmp_path / "secret").write_bytes(content)
    text = message(
        "{key: {env: KEY}, secret: {file: ./secret}}", folder=tmp_path, environ={"KEY": "a-key-of-okx"}
    )
    assert expected in text


def test_a_pem_key_keeps_its_lines_and_an_absolute_path_is_taken_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "pem").write_text("\n-----BEGIN KEY-----\nline one of it\n-----END KEY-----\n")
    account = f"{{key: {{env: KEY}}, secret: {{file: '{tmp_path / 'pem'}'}}, password: {{env: WORD}}}}"
    text = ACCOUNT.format(account=account, endpoint="live")
    environ = {"KEY": " a-key-of-okx ", "WORD": "a-passphrase"}
    keys = settings_from(text, "file", Path("elsewhere"), environ).exchanges["x"].accounts["main"]
    assert keys.secret.reveal() == "-----BEGIN KEY-----\nline one of it\n-----END KEY-----"
    assert keys.key.reveal() == "a-key-of-okx"
    assert keys.password is not None
    assert keys.password.reveal() == "a-passphrase"


def test_the_check_command_prints_what_holds_without_secrets_or_all_that_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "orderlane.yaml"
    environ = {"KEY": PLANTED, "REDIS_URL": f"redis://:{PLANTED}@host:6379/0"}
    file.write_text(ACCOUNT.format(account="{key: {env: KEY}, secret: {env: KEY}}", endpoint="live"))
    good = CliRunner().invoke(main, ["--check", str(file)], env=environ)
    assert good.exit_code == 0
    assert "redis_url: redis://:***@host:6379/0" in good.stdout
    assert PLANTED not in good.output
    file.write_text(ACCOUNT.format(account=f"{{key: {PLANTED}, sceret: x}}", endpoint="live"))
    bad = CliRunner().invoke(main, ["--check", str(file)], env=environ)
    assert bad.exit_code == 1
    assert 'did you mean "secret"?' in bad.stderr
    assert PLANTED not in bad.output
