"""Which addresses count as one client, and what a Host header names."""

import pytest

from portal.config import Settings
from portal.web.client import network_of
from portal.web.hosts import host_name


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:aaaa::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff:ffff:ffff:ffff", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", "unknown"),
        ("unix:", "unknown"),
    ],
)
def test_a_64_of_ipv6_is_one_client(address: str, network: str) -> None:
    assert network_of(address) == network


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("portal.example.org", "portal.example.org"),
        ("PORTAL.example.org:8443", "portal.example.org"),
        ("portal.example.org.", "portal.example.org"),
        ("127.0.0.1:43121", "127.0.0.1"),
        ("[::1]:8000", "::1"),
        ("[::1]", "::1"),
        ("portal.example.org:evil", "portal.example.org:evil"),
        ("portal.example.org:80:80", "portal.example.org:80"),
        ("", ""),
    ],
)
def test_a_host_is_named_without_its_port(host: str, name: str) -> None:
    assert host_name(host) == name


def test_the_portal_answers_to_its_public_name_this_machine_and_what_is_set() -> None:
    settings = Settings(public_url="https://Portal.example.org/", trusted_hosts="portal.internal  OLD.example.org")
    assert settings.hosts == {"portal.example.org", "localhost", "127.0.0.1", "::1", "portal.internal", "old.example.org"}
