from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guardalign_middleware.intake.addresses import is_public_address

PUBLIC = ["8.8.8.8", "93.184.215.14", "1.1.1.1", "2606:4700:4700::1111", "2a00:1450:4001:800::200e"]
CLOSED = {
    "this network": ["0.0.0.0", "0.1.2.3", "::"],
    "loopback": ["127.0.0.1", "127.255.255.254", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fd00:ec2::254"],
    "link-local": ["169.254.169.254", "fe80::1", "fe80::1%eth0"],
    "shared": ["100.64.0.1", "100.100.100.200"],
    "the cloud's own": ["168.63.129.16"],
    "multicast": ["224.0.0.1", "239.255.255.250", "ff02::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "4000::1", "5f00::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "benchmarks and protocols": ["198.18.0.1", "192.0.0.8", "192.88.99.1", "2001:2::1"],
    "mapped": ["::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:8.8.8.8", "::ffff:0:8.8.8.8"],
    "compatible": ["::127.0.0.1", "::808:808"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::8.8.8.8", "64:ff9b:1::a00:1"],
    "6to4 and Teredo": ["2002:7f00:1::", "2001:0:4136:e378:8000:63bf:3fff:fdd2"],
    "other spellings": ["2130706433", "0177.0.0.1", "0x7f000001", "127.1", "8.8.8", "010.8.8.8"],
    "no address": ["", "localhost", "8.8.8.8 ", "8.8.8.8\n", "8.8.8.8/32", "[::1]", "1.2.3.4.5"],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_dialled(address: str) -> None:
    assert is_public_address(address)


@pytest.mark.parametrize("kind", CLOSED)
def test_nothing_else_may(kind: str) -> None:
    assert [address for address in CLOSED[kind] if is_public_address(address)] == []


@given(st.ip_addresses(v=4))
def test_no_detour_leads_to_ipv4(address: ipaddress.IPv4Address) -> None:
    for prefix in ("::", "::ffff:", "::ffff:0:", "64:ff9b::", "64:ff9b:1::"):
        assert not is_public_address(f"{prefix}{address}")
    if address.is_private or address.is_multicast or address.is_reserved:
        assert not is_public_address(str(address))


@given(st.ip_addresses(v=6))
def test_public_means_globally_routed(address: ipaddress.IPv6Address) -> None:
    if is_public_address(str(address)):
        assert address.is_global
        assert not any((address.is_multicast, address.is_private, address.ipv4_mapped))


@given(st.text(max_size=20))
def test_any_text_has_an_answer(text: str) -> None:
    if is_public_address(text):
        ipaddress.ip_address(text)
