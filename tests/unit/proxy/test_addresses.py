"""Which addresses may be called because somebody asked for it."""

from __future__ import annotations

import pytest

from proxy.addresses import webhook_fault


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com",
        "https://hooks.example.com:8443/a?b=c",
        "https://93.184.215.14/",
        "https://[2606:4700::1111]/",
        "https://10.example.com/",
        "HTTPS://localhost.example.com/",
    ],
)
def test_public_addresses_may_be_called(url: str) -> None:
    assert webhook_fault(url) == ""


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "begins with https"),
        ("hooks.example.com", "begins with https"),
        ("ftp://hooks.example.com/", "begins with https"),
        ("https://", "begins with https"),
        ("https://[::1/", "begins with https"),
        ("https://hooks.example.com:x/", "begins with https"),
        ("https://hooks.example.com/ä", "percent-encoded"),
        ("https://hooks.example.com/a b", "percent-encoded"),
        ("https://hooks.example.com/" + "a" * 2048, "2048"),
        ("https://user:secret@hooks.example.com/", "user or password"),
        ("https://user@hooks.example.com/", "user or password"),
        ("http://hooks.example.com/", "must begin with https"),
        ("https://localhost/", "private"),
        ("https://LOCALHOST./", "private"),
        ("https://a.localhost/", "private"),
        ("https://127.0.0.1/", "private"),
        ("https://127.1/", "private"),
        ("https://2130706433/", "private"),
        ("https://0x7f.1/", "private"),
        ("https://127.0.0.1./", "private"),
        ("https://10.1.2.3/", "private"),
        ("https://172.16.0.1/", "private"),
        ("https://192.168.0.1/", "private"),
        ("https://169.254.169.254/latest", "private"),
        ("https://100.64.0.1/", "private"),
        ("https://0.0.0.0/", "private"),
        ("https://224.0.0.1/", "private"),
        ("https://[::1]/", "private"),
        ("https://[fe80::1]/", "private"),
        ("https://[fd00::1]/", "private"),
        ("https://[::ffff:10.0.0.1]/", "private"),
        ("https://[64:ff9b::7f00:1]/", "private"),
        ("https://[2002:7f00:1::]/", "private"),
    ],
)
def test_all_others_may_not(url: str, says: str) -> None:
    assert says in webhook_fault(url)
    assert "secret" not in webhook_fault(url)


def test_hosts_can_be_let_in() -> None:
    hosts = ("Hooks.internal", "127.0.0.1")
    assert webhook_fault("http://hooks.internal/x", hosts) == ""
    assert webhook_fault("http://127.0.0.1:8000/x", hosts) == ""
    assert webhook_fault("http://hooks.other/x", hosts) != ""
    assert webhook_fault("http://u:p@127.0.0.1/x", hosts) != ""
