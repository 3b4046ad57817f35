import base64
import copy
import json
import pickle
from urllib.parse import quote, quote_plus

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.secrets import HIDDEN, Secret, SecretRegistry, SecretUrl, scrub, without_password

ODD = 'pa/ss+w=zx"\\ 7&é#@:%~'
PEM = """-----BEGIN KEY-----
MIIEvgIBADANBgkqhkiG9w0BAQEF
AASCBKgwggSkAgEAAoIBAQC7VJTU
-----END KEY-----"""


@pytest.mark.parametrize("kind", [Secret, SecretUrl])
def test_no_way_of_showing_a_secret_shows_it(kind: type[Secret]) -> None:
    word = "s3cr3t-of-this-test"
    secret = kind(f"redis://:{word}@localhost:6379/0" if kind is SecretUrl else word)
    shown = [
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r:>60}",
        " ".join(map("{:>20}".format, [secret])),
        format(secret),
        repr([secret]),
    ]
    assert all(word not in text and HIDDEN in text for text in shown)
    for refuse in (
        pickle.dumps,
        msgspec.json.encode,
        msgspec.msgpack.encode,
        msgspec.to_builtins,
        json.dumps,
    ):
        with pytest.raises(TypeError) as refusal:
            refuse(secret)
        assert word not in str(refusal.value)
    assert word in secret.reveal()
    assert not hasattr(secret, "__dict__")


def test_secrets_compare_copy_and_tell_whether_they_are_empty() -> None:
    assert Secret("the-same-text") == Secret("the-same-text") != Secret("another-text")
    assert hash(Secret("the-same-text")) == hash(Secret("the-same-text"))
    assert Secret("the-same-text") != "the-same-text"
    secret = Secret("the-same-text")
    assert copy.deepcopy({"a": secret})["a"] is secret is copy.copy(secret)
    assert not Secret("")


def test_a_secret_is_hidden_in_every_text_from_the_moment_it_is_made() -> None:
    text = "GET /x?key=made-a-moment-ago HTTP/1.1"
    assert scrub(text) == text
    Secret("made-a-moment-ago")
    assert scrub(text) == "GET /x?key=*** HTTP/1.1"


@pytest.mark.parametrize(
    "spelled",
    [
        ODD,
        quote(ODD),
        quote(ODD, safe=""),
        quote(ODD, safe="").lower(),
        quote_plus(ODD),
        json.dumps(ODD),
        json.dumps(ODD, ensure_ascii=False),
        json.dumps(json.dumps(ODD)),
        repr(ODD),
        ascii(ODD),
        json.dumps(repr({"password": ODD})),
        base64.b64encode(ODD.encode()).decode(),
        base64.urlsafe_b64encode(ODD.encode()).decode(),
    ],
)
def test_a_secret_is_found_however_it_is_spelled(spelled: str) -> None:
    registry = SecretRegistry()
    registry.add(ODD)
    left = registry.scrub(f"before {spelled} after")
    assert HIDDEN in left
    assert left.startswith("before ")
    assert left.endswith(" after")
    assert "zx" not in left
    assert len(left) < len("before  after") + 24


@given(
    secret=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=12, max_size=40),
    before=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=7),
    after=st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=7),
)
def test_a_secret_is_found_in_a_longer_text_in_base64_and_in_percent_encoding(
    secret: str, before: str, after: str
) -> None:
    registry = SecretRegistry()
    registry.add(secret)
    whole = f"{before}{secret}{after}"
    assert secret not in registry.scrub(whole)
    assert quote(secret, safe="") not in registry.scrub(quote(whole, safe=""))
    # Of the base64 text at most the letters at the seams may stay: too few to be of use.
    left = registry.scrub(base64.b64encode(whole.encode()).decode())
    assert HIDDEN in left
    assert len(left.replace(HIDDEN, "")) <= (len(before) + len(after)) * 4 // 3 + 8


def test_each_line_of_a_pem_key_is_hidden_alone_too() -> None:
    registry = SecretRegistry()
    registry.add(PEM)
    assert registry.scrub(f"<{PEM}>") == f"<{HIDDEN}>"
    assert registry.scrub(json.dumps({"key": PEM})) == '{"key": "***"}'
    assert "AASCBKgw" not in registry.scrub("line 2: AASCBKgwggSkAgEAAoIBAQC7VJTU")
    assert registry.scrub("-----BEGIN KEY-----") == "-----BEGIN KEY-----"


def test_the_longer_of_two_secrets_goes_first_so_that_no_rest_of_it_stays() -> None:
    registry = SecretRegistry()
    registry.add("orderly")
    registry.add("orderly-and-longer")
    assert registry.scrub("orderly-and-longer, orderly") == "***, ***"


def test_a_very_short_secret_leaves_ordinary_words_alone() -> None:
    registry = SecretRegistry()
    registry.add("ord")
    assert registry.scrub("order") == "order"
    assert registry.scrub("redis://:ord@host") == "redis://:***@host"


def test_passwords_in_urls_and_signatures_are_hidden_though_nobody_announced_them() -> None:
    text = "redis://user:neverseen1@host:6379/0 and https://x/order?a=1&signature=abcdef0123&b=2"
    assert scrub(text) == "redis://user:***@host:6379/0 and https://x/order?a=1&signature=***&b=2"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("redis://:firstpass@host/1", "redis://:***@host/1"),
        (
            "rediss://me:firstpass@[::1]:6379/1?ssl_cert_reqs=none",
            "rediss://me:***@[::1]:6379/1?ssl_cert_reqs=none",
        ),
        ("redis://host/0?password=firstpass&db=1", "redis://host/0?password=***&db=1"),
        ("unix://me:firstpass@/run/redis.sock?db=1", "unix://me:***@/run/redis.sock?db=1"),
        (
            "redis+sentinel://me:firstpass@one:1,two:2/prod/0?sentinel_password=secondpass&db=1",
            "redis+sentinel://me:***@one:1,two:2/prod/0?sentinel_password=***&db=1",
        ),
        ("redis://:first/pass@host/0", HIDDEN),
        ("redis://[:first", HIDDEN),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown == str(SecretUrl(url))


def test_the_password_of_a_url_is_hidden_as_written_and_as_decoded() -> None:
    SecretUrl("redis://:p%40ss%2Fw0rd-here@host:6379/0")
    assert scrub("AUTH p@ss/w0rd-here, p%40ss%2Fw0rd-here") == "AUTH ***, ***"
    SecretUrl("redis://:un/readable-pass@host:6379/0")
    assert "readable-pass" not in scrub("AUTH un/readable-pass")


def test_the_password_of_sentinels_is_a_secret_too() -> None:
    SecretUrl("redis+sentinel://one:1/prod/0?sentinel_password=watch%2Fmen-here")
    assert scrub("AUTH watch/men-here") == "AUTH ***"


def test_among_thousands_of_secrets_each_is_found_as_surely_as_alone() -> None:
    many, words = SecretRegistry(), [f"key-{number:04d}-{number * 7919 % 10007}/x" for number in range(500)]
    for word in words:
        many.add(word)
    many.add("a-b-c-d")
    for word in (*words[::50], "a-b-c-d"):
        alone = SecretRegistry()
        alone.add(word)
        for spelled in (word, quote(word, safe=""), base64.b64encode(f"12{word}".encode()).decode()):
            text = f"said {spelled} twice {spelled}"
            assert many.scrub(text) == alone.scrub(text)
            assert word not in many.scrub(text)
