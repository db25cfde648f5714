"""What is written around an address changes nobody: a number, an IP address, an e-mail address, a withheld caller."""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable

import phonenumbers
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transform_kit import Kit, subjects

from lethe.schemas.subjects.address_columns import normalise_column
from lethe.schemas.subjects.addresses import Reading, Subject, read
from lethe.schemas.subjects.equivalents import typed
from lethe.schemas.subjects.numbers import canonical_number

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
MOBILE, FIXED = phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE


def examples() -> dict[str, str]:
    """A number of each region, as `examples()[region]`, in E.164 digits."""
    found = {}
    for region in REGIONS:
        number = phonenumbers.example_number_for_type(region, MOBILE) or phonenumbers.example_number_for_type(
            region, FIXED
        )
        if number is not None:
            found[region] = f"{number.country_code}{phonenumbers.national_significant_number(number)}"
    return found


EXAMPLES = examples()
NUMBERS = st.sampled_from(sorted({n for n in EXAMPLES.values() if len(n) >= 7}))


def code(number: str) -> str:
    return str(phonenumbers.parse(f"+{number}").country_code)


WRAPPED: dict[str, Callable[[str], str]] = {
    "plus": lambda n: f"+{n}", "two pluses": lambda n: f"++{n}", "plus and zeros": lambda n: f"+00{n}",
    "code in brackets": lambda n: f"(+{code(n)}) {n[len(code(n)):]}",
    "zeros in brackets": lambda n: f"(00{code(n)}){n[len(code(n)):]}",
    "apostrophe of a sheet": lambda n: f"'+{n}", "formula of a sheet": lambda n: f'="{n}"',
    "formula with a plus": lambda n: f'="+{n}"', "a float": lambda n: f"{n}.0", "a comma left": lambda n: f"+{n},",
    "sms": lambda n: f"sms:+{n}", "smsto": lambda n: f"SMSTO:+{n}", "callto": lambda n: f"callto:+{n}",
    "mms": lambda n: f"+{n}/TYPE=PLMN", "mms gateway": lambda n: f"{n}/type=plmn@mms.example.net",
    "a label": lambda n: f"MSISDN: {n}", "a label and a plus": lambda n: f"Tel. +{n}",
    "a label of a log": lambda n: f"msisdn=+{n}", "a label and a line": lambda n: f"MSISDN-00{n}",
    "type and plan": lambda n: f"1/1/{n}", "type and plan with dots": lambda n: f"1.1.{n}",
    "type and plan with a plus": lambda n: f"1:1:+{n}",
    "a device": lambda n: f"{n}:12@s.whatsapp.net", "a device's agent": lambda n: f"{n}.0:3@s.whatsapp.net",
    "ported": lambda n: f"sip:+{n};rn=+1999;npdi@gw.example:5060;user=phone",
    "carrier": lambda n: f'"A, B" <sips:%2B{n};cic=+16789@gw.example>;tag=x',
    "named": lambda n: f'"Jane" <tel:+{n};isub=1411>',
    "in a country": lambda n: f"tel:{n[len(code(n)):]};phone-context=+{code(n)}",
    "in a country, by SIP": lambda n: f"sip:{n[len(code(n)):]};phone-context=+{code(n)}@gw.example;user=phone",
}  # fmt: skip
OF_ONE_REGION = {"in a country", "in a country, by SIP"}
"""A calling code that several countries share is read under the first of them."""


@pytest.mark.parametrize("how", WRAPPED)
@given(numbers=st.lists(NUMBERS, min_size=1, max_size=8))
def test_a_number_is_itself_however_it_is_wrapped(how: str, numbers: list[str]) -> None:
    if how in OF_ONE_REGION:
        numbers = [
            n for n in numbers if EXAMPLES[phonenumbers.region_code_for_country_code(int(code(n)))] == n
        ]
    texts = [WRAPPED[how](n) for n in numbers]
    wanted = [canonical_number(n) for n in numbers]
    found = normalise_column(pl.Series(texts, dtype=pl.String))
    assert found.rows() == [("msisdn", n) for n in wanted]
    assert [read(text, Reading()) for text in texts] == [Subject("msisdn", n) for n in wanted]
    for text, number in zip(texts, wanted, strict=True):
        assert Subject("msisdn", number) in typed(text), "whoever pastes it finds the person"


STRAY = st.text("\"'`“”‘’«»()[]{}<>,; ", max_size=3)


@given(st.lists(st.tuples(STRAY, NUMBERS, STRAY), min_size=1, max_size=8), st.booleans())
def test_marks_left_around_a_number_change_nobody(wrapped: list[tuple[str, str, str]], plus: bool) -> None:
    """A quotation mark without its other half, brackets, commas: what an export or a paste leaves behind."""
    texts = [f"{before}{'+' if plus else '00'}{n}{after}" for before, n, after in wrapped]
    wanted = [Subject("msisdn", canonical_number(n)) for _, n, _ in wrapped]
    assert [read(text, Reading()) for text in texts] == wanted
    found = normalise_column(pl.Series(texts, dtype=pl.String))
    assert found.rows() == [("msisdn", one.value) for one in wanted]
    for text, one in zip(texts, wanted, strict=True):
        assert one in typed(text), "whoever pastes it finds the person"


@pytest.mark.parametrize(
    "text", ['"0300 5550142', "(1001", '"ACME', "[Acme]", '"+', "((((", '"', "'12345'", '"a"b"']
)
def test_marks_make_no_number_of_what_is_none(text: str) -> None:
    found = read(text, Reading())
    assert found is None or found.kind == "opaque"


@pytest.mark.parametrize(
    "text",
    ["phone-1234567", "mobile 12345678", "number-20260109", "Tel", "tel-", "msisdn=", "GSM/anonymous",
     "cellar-923001234567",
     "5/0/923001234567", "2/1/03001234567", "1/1.923001234567", "1/1/0300123456",
     "0/1/923001234567", "1/8/923001234567"],
)  # fmt: skip
def test_a_label_makes_no_number_of_what_may_be_something_else(text: str) -> None:
    """A device, a date, a name, a national number, a number of another plan: each stays as it is written."""
    assert read(text, Reading()) == Subject("opaque", text)


@given(NUMBERS.filter(lambda n: len(n) >= 10))
def test_an_exponent_is_read_unless_it_may_be_rounded(number: str) -> None:
    whole = f"{number[0]}.{number[1:]}E{len(number) - 1}"
    assert read(whole, Reading()) == Subject("msisdn", canonical_number(number))
    assert read(whole.replace("E", "e+"), Reading()) == Subject("msisdn", canonical_number(number))
    rounded = f"{number[0]}.{number[1:6]}E+{len(number) - 1}"
    assert read(rounded, Reading()) == Subject("opaque", rounded)


def abroad(region: str) -> str | None:
    """What is dialled in a region before the code of another country."""
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
    given = metadata.preferred_international_prefix or metadata.international_prefix if metadata else None
    digits = re.sub(r"\D", "", given or "")
    return digits if given and re.fullmatch(r"[0-9~]+", given) else None


@given(st.sampled_from([r for r in REGIONS if abroad(r)]), NUMBERS)
def test_behind_the_prefix_of_a_line_stands_the_number_and_nobody_else(region: str, number: str) -> None:
    text = f"{abroad(region)}{number}"
    found = read(text, Reading("auto", True, region))
    assert found in (Subject("msisdn", canonical_number(number)), Subject("opaque", text)), (
        "never a stranger's"
    )
    if text.startswith(("0011", "810", "011")):
        assert found is not None
        assert found.kind == "msisdn"


@pytest.mark.parametrize(
    "around", ["{}", "tel:{}", '"Jane" <sip:{}@192.0.2.7>', "<{}>;tag=1", "sip:{}@pbx", "'{}'"]
)
@pytest.mark.parametrize(
    "word",
    ["anonymous", "Anonymous", "ANONYMOUS", "Restricted", "unavailable", "Unknown", "private", "withheld"],
)
def test_a_withheld_caller_is_nobody_in_any_wrapping(word: str, around: str) -> None:
    text = around.format(word)
    for how in (Reading(), Reading("auto", True, "PK"), Reading("sip")):
        assert read(text, how) is None
    assert normalise_column(pl.Series([text, "+923005550142"]))["value"].to_list() == [None, "923005550142"]


@given(
    st.sampled_from(
        ["no caller id", "out of area", "caller id unavailable", "number withheld", "not available"]
    ),
    st.sampled_from(["", "-", "_", " ", "."]),
    st.sampled_from([str.upper, str.lower, str.title]),
)
def test_words_for_nobody_are_known_however_they_are_joined(
    words: str, between: str, case: Callable[[str], str]
) -> None:
    assert read(case(words).replace(" ", between), Reading()) is None


@pytest.mark.parametrize(
    "text",
    [
        "anonymous.user@example.com",
        "sip:anonymously@pbx",
        "nan@example.com",
        "un@known",
        "Nona",
        "+10",
        "0123",
    ],
)
def test_who_is_only_called_nearly_so_is_somebody(text: str) -> None:
    assert read(text, Reading()) is not None


IPS = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6).filter(lambda a: a.ipv4_mapped is None)).filter(
    lambda a: not a.is_unspecified
)
IP_WRAPPED: dict[str, Callable[[str], str]] = {
    "port": lambda a: f"[{a}]:5060" if ":" in a else f"{a}:5060",
    "transport": lambda a: f"udp:[{a}]:5060" if ":" in a else f"tls:{a}:5061",
    "parameter": lambda a: f"{a};transport=tcp", "length": lambda a: f"{a}/{128 if ':' in a else 32}",
    "zone": lambda a: f"{a}%25eth0" if ":" in a else a,
    "forwarded": lambda a: f'for="[{a}]:4711";proto=https' if ":" in a else f"for={a};proto=https",
    "padded": lambda a: a if ":" in a else ".".join(part.zfill(3) for part in a.split(".")),
    "mapped": lambda a: a if ":" in a else f"::ffff:{a}",
}  # fmt: skip


@pytest.mark.parametrize("how", IP_WRAPPED)
@given(address=IPS)
def test_an_ip_address_is_itself_however_it_is_wrapped(
    how: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address
) -> None:
    assert read(IP_WRAPPED[how](str(address)), Reading("ip")) == Subject("ip", str(address))


@pytest.mark.parametrize("text", ["-", "unknown", "0.0.0.0", "::", "", "0", "[::]:0"])
def test_no_address_is_nobody(text: str) -> None:
    assert read(text, Reading("ip")) is None


@pytest.mark.parametrize(
    "text",
    [
        "jane@example.com (Jane)", "rfc822;jane@example.com", "RFC822; Jane@Example.com",
        "@relay.example:jane@example.com", "mailto:jane@example.com?subject=x", "jane@example.com.",
        '"Doe, Jane" <jane@example.com>',
    ],
)  # fmt: skip
def test_an_email_address_is_itself_however_it_is_wrapped(text: str) -> None:
    assert read(text, Reading()) == read(text, Reading("email")) == Subject("email", "jane@example.com")


def test_every_address_of_a_proxy_chain_is_somebodys() -> None:
    """As `X-Forwarded-For` is written, with words for nobody in it."""
    record = {
        "timestamp": "2026-09-01T10:00:00Z", "account_id": "acme-4711", "user_id": "jane.doe", "action": "login",
        "ip_address": "192.0.2.7, unknown, 2001:db8::1", "result": "ok",
    }  # fmt: skip
    kit = Kit(window_months=36)
    people = subjects(kit.process([json.dumps(record).encode()], "platform/activity"), kit.ring)
    assert {who for _, kind, who in people[0, None] if kind == "ip"} == {"192.0.2.7", "2001:db8::1"}
    for chain in ("192.0.2.7, 2001:db8::1", "192.0.2.7,2001:db8::1", "192.0.2.7, unknown, 2001:db8::1"):
        line = f'{chain} - jane [01/Sep/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 1'
        people = subjects(kit.process([line.encode()], "web/combined"), kit.ring)
        assert {who for _, _, who in people[0, None]} == {"192.0.2.7", "2001:db8::1", "jane"}
    alone = subjects(
        kit.process([b'192.0.2.7, - - [01/Sep/2026:10:00:00 +0000] "GET / HTTP/1.1" 200 1'], "web/combined"),
        kit.ring,
    )
    assert {who for _, _, who in alone[0, None]} == {"192.0.2.7"}


@pytest.mark.parametrize("port", ["", ":5060", ":5061", ":15060", ":5060;transport=tls"])
@pytest.mark.parametrize("host", ["pbx.example", "192.0.2.7", "[2001:db8::1]", "PBX.example"])
def test_a_port_is_no_part_of_who_somebody_is(host: str, port: str) -> None:
    found = read(f"sip:1002@{host}{port}", Reading())
    assert found == Subject("sip", f"1002@{host.lower()}")
    assert Subject("sip", f"1002@{host.lower()}") in typed(f"sip:1002@{host}")
    if "[" not in host:
        assert Subject("sip", f"1002@{host.lower()}:5060") in typed(f"sip:1002@{host}"), (
            "as it was stored before"
        )


def test_a_number_for_withheld_callers_is_nobody_in_a_field_for_numbers_and_chat_ids() -> None:
    record = {
        "sid": "SM" + "0" * 32, "account_sid": "AC" + "0" * 32, "from": "+86282452253", "to": "24365", "body": "x",
        "direction": "inbound", "date_created": "Fri, 06 Mar 2026 15:17:05 +0000", "status": "received",
    }  # fmt: skip
    kit = Kit()
    split = kit.process([json.dumps(record).encode()], "twilio/message")
    assert subjects(split, kit.ring) == {}
    assert split.metadata.to_pylist()[0]["country"] is None
    assert read("anonymous", Reading("chat"), "telegram") == Subject("chat", "telegram:anonymous"), (
        "a name there"
    )
