"""Which URLs a webhook may have: https to the public internet, however others are spelled."""

import ipaddress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from workers.notifying.addresses import Forbidden, destination, is_public

PUBLIC = "93.184.215.14"


def never(host, _port):
    raise AssertionError(f"{host} was looked up")


def to(url, *addresses, trusted=()):
    return destination(url, trusted=trusted, resolve=lambda _host, _port: addresses or (PUBLIC,))


@pytest.mark.parametrize(
    ("url", "pinned", "header"),
    [
        ("https://hooks.example.org", f"https://{PUBLIC}:443/", "hooks.example.org"),
        ("https://Hooks.Example.org/a?b=c", f"https://{PUBLIC}:443/a?b=c", "hooks.example.org"),
        ("https://hooks.example.org:8443/x", f"https://{PUBLIC}:8443/x", "hooks.example.org:8443"),
        ("https://hooks.example.org?a", f"https://{PUBLIC}:443/?a", "hooks.example.org"),
        ("https://xn--bcher-kva.example", f"https://{PUBLIC}:443/", "xn--bcher-kva.example"),
        ("https://93.184.215.14/", f"https://{PUBLIC}:443/", PUBLIC),
        ("https://[2606:2800::1]/", "https://[2606:2800::1]:443/", "[2606:2800::1]"),
        ("https://a.example/@user:x@y", f"https://{PUBLIC}:443/@user:x@y", "a.example"),
    ],
)
def test_what_was_looked_at_is_what_is_called(url, pinned, header):
    found = to(url)
    assert (found.pinned, found.host_header) == (pinned, header)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hooks.example.org",
        "http://hooks.example.org",
        "ftp://hooks.example.org",
        "file:///etc/passwd",
        "gopher://hooks.example.org",
        "HTTPS://hooks.example.org",
        "https:hooks.example.org",
        "https:/hooks.example.org",
        "https:///hooks.example.org",
        "https://",
        "https://:443",
        "https://user@hooks.example.org",
        "https://user:password@hooks.example.org",
        "https://hooks.example.org@127.0.0.1",
        "https://hooks.example.org:0",
        "https://hooks.example.org:65536",
        "https://hooks.example.org:443:443",
        "https://hooks.example.org:+443",
        "https://hooks.example.org:\uff14\uff14\uff13",
        "https://hooks.example.org#fragment",
        "https://hooks.example.org\\@127.0.0.1/",
        "https:\\\\127.0.0.1",
        "https://hooks.example.org/\r\nX-Evil: 1",
        "https://hooks.example.org/a b",
        "https://hooks.example.org/é",
        " https://hooks.example.org",
        "https://hooks.example.org ",
        "https://hooks.example.org\n",
        "https://hooks.example.org/" + "a" * 3_000,
        "https://hooks..example.org",
        "https://-hooks.example.org",
        "https://hooks-.example.org",
        "https://" + "a" * 64 + ".example",
        "https://" + "a." * 127 + "example",
        "https://bücher.example",
        "https://ⓔxample.org",
        "https://127。0。0。1",
        "https://\uff11\uff12\uff17.0.0.1",
        "https://hooks%2eexample.org",
        "https://%31%32%37.0.0.1",
        # numbers that some readers take for addresses
        "https://2130706433",
        "https://0x7f000001",
        "https://0x7f.0.0.1",
        "https://017700000001",
        "https://0177.0.0.1",
        "https://127.1",
        "https://127.0.1",
        "https://127.0.0.1.",
        "https://127.0.0.01",
        "https://256.256.256.256",
        "https://1.2.3.4.5",
        "https://example.0x7f",
        "https://example.127",
        "https://[127.0.0.1]",
        "https://[::1",
        "https://[::1]extra",
        "https://[fe80::1%eth0]",
        "https://[fe80::1%25eth0]",
        "https://[v1.fe80]",
    ],
)
def test_what_two_readers_could_read_differently_is_no_url(url):
    with pytest.raises(Forbidden) as refused:
        destination(url, resolve=never)
    assert refused.value.bad


NOT_PUBLIC = [
    *("0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.254"),
    *("127.0.0.1", "127.255.255.255", "169.254.169.254", "172.16.0.1", "172.31.255.255"),
    *("192.0.0.1", "192.0.0.9", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1"),
    *("198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255"),
    *("240.0.0.1", "255.255.255.255"),
    *("::", "::1", "::2", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:7f00:1"),
    f"::ffff:{PUBLIC}",
    *("64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", f"64:ff9b::{PUBLIC}", "64:ff9b:1::1"),
    *("100::1", "2001::1", "2001:0:7f00:1::", "2001:db8::1", "2001:10::1", "2002:7f00:1::"),
    *("3fff::1", "5f00::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%eth0", "fec0::1"),
    *("ff02::1", "ff0e::1"),
    *("", "localhost", "127.1", "0x7f.1", "2130706433", "127.0.0.01", " 127.0.0.1"),
]


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_what_leads_inside_or_to_many_is_not_public(address):
    assert not is_public(address)
    with pytest.raises(Forbidden) as refused:
        to("https://hooks.example.org/", address)
    assert not refused.value.bad


@pytest.mark.parametrize(
    "address", [PUBLIC, "1.1.1.1", "8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4001::1"]
)
def test_the_public_internet_is_public(address):
    assert is_public(address)
    assert to("https://hooks.example.org/", address).address == address


def test_one_address_inside_among_public_ones_is_enough_to_refuse():
    with pytest.raises(Forbidden):
        to("https://hooks.example.org/", PUBLIC, "10.0.0.1")
    with pytest.raises(Forbidden):
        to("https://hooks.example.org/", "10.0.0.1", PUBLIC)


def test_whoever_runs_the_workers_may_vouch_for_a_host_and_for_it_only():
    here = ("hooks.internal:8080", "10.0.0.7", "[::1]:9")
    assert to("http://hooks.internal:8080/x", "10.0.0.9", trusted=here).address == "10.0.0.9"
    assert to("http://10.0.0.7/x", trusted=here).pinned == "http://10.0.0.7:80/x"
    assert to("http://[::1]:9/x", trusted=here).pinned == "http://[::1]:9/x"
    for url in (
        "http://hooks.internal/x",
        "http://hooks.internal:8081/x",
        "http://10.0.0.8/x",
        "http://hooks.internal.example:8080/x",
    ):
        with pytest.raises(Forbidden):
            to(url, "10.0.0.9", trusted=here)


@given(st.integers(0, 2**32 - 1))
@example(int(ipaddress.IPv4Address("169.254.169.254")))
def test_no_ipv4_address_becomes_public_by_being_wrapped(number):
    plain = ipaddress.IPv4Address(number)
    for wrapped in (
        f"::ffff:{plain}",
        f"::{plain}",
        f"64:ff9b::{plain}",
        str(ipaddress.IPv6Address((0x2002 << 112) | (number << 80))),
    ):
        assert not is_public(wrapped)
    if is_public(str(plain)):
        assert plain.is_global
        assert not plain.is_multicast


@given(st.text(max_size=60))
@example("https://[::ffff:127.0.0.1]/")
@example("https://localhost/")
def test_nothing_is_called_that_is_not_https_to_a_public_address(text):
    for url in (text, f"https://{text}", f"https://a{text}.example/"):
        try:
            found = to(url, "127.0.0.1")
        except Forbidden:
            continue
        assert is_public(found.address)
        assert found.scheme == "https"
        assert found.host == found.address
