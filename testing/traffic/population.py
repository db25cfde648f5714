"""Made-up end users: the same people at every seed, so that traffic of several formats meets in a look-up.

A person is a country and a rank. Numbers follow the national numbering plans closely enough for a parser to
take them as real; e-mail addresses lie in the domains RFC 2606 reserves. How often a rank appears falls off
as in Zipf's law (its head flattened): each of twelve octaves of ranks gets the same share of the traffic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

from lethe.testing.traffic.wheels import SLOTS, Draw, wheel

FIRST_RANK: Final = 64
OCTAVES: Final = 12


@dataclass(frozen=True, slots=True)
class Country:
    """A numbering plan: mobile numbers are one of `prefixes` and `digits` more."""

    iso: str
    weight: int
    prefixes: tuple[str, ...]
    digits: int
    networks: tuple[tuple[str, str, int], ...]  # MCC and MNC, name, weight
    price: int  # of a text message, in millionths of a euro
    given: tuple[str, ...]
    family: tuple[str, ...]


_PK = Country(
    "PK",
    0,
    tuple(
        f"92{a}{b}"
        for a, last in (("30", 10), ("31", 9), ("32", 6), ("33", 8), ("34", 10))
        for b in range(last)
    ),
    7,
    (
        ("41001", "Jazz", 36),
        ("41004", "Zong", 25),
        ("41006", "Telenor", 24),
        ("41003", "Ufone", 12),
        ("41007", "Warid", 3),
    ),
    21_400,
    ("ayesha", "bilal", "fatima", "hamza", "hina", "imran", "sana", "usman", "zainab", "zubair"),
    ("ahmed", "akhtar", "bhatti", "chaudhry", "hussain", "khan", "malik", "qureshi", "shah", "siddiqui"),
)
_WESTERN = (
    ("alex", "anna", "ben", "clara", "daniel", "eva", "iris", "leo", "marta", "nina", "oscar", "paul"),
    ("baker", "costa", "dubois", "evans", "fischer", "garcia", "horvat", "jansen", "kovac", "weber"),
)
_GULF = (
    ("ali", "amal", "dalia", "hassan", "layla", "mona", "omar", "rania", "salem", "yusuf"),
    ("alamin", "darwish", "farouk", "haddad", "mansour", "nasser", "rahman", "saleh"),
)

COUNTRIES: Final = (
    _PK,
    Country(
        "GB",
        14,
        ("4474", "4475", "4477", "4478", "4479"),
        8,
        (("23410", "O2", 3), ("23415", "Vodafone", 2), ("23420", "Three", 2), ("23430", "EE", 3)),
        38_500,
        *_WESTERN,
    ),
    Country(
        "US",
        16,
        tuple(
            f"1{a}{x}"
            for a in (205, 212, 303, 305, 312, 404, 415, 503, 512, 602, 617, 702, 713, 773, 816, 919)
            for x in range(220, 990, 7)
        ),
        4,
        (("310260", "T-Mobile", 4), ("310410", "AT&T", 4), ("311480", "Verizon", 5)),
        7_900,
        *_WESTERN,
    ),
    Country(
        "DE",
        10,
        ("491511", "491520", "491570", "491590", "491601", "491621", "491701", "491721", "491751", "491761"),
        7,
        (("26201", "Telekom", 4), ("26202", "Vodafone", 3), ("26203", "O2", 4)),
        72_000,
        *_WESTERN,
    ),
    Country(
        "FR",
        7,
        ("336", "337"),
        8,
        (("20801", "Orange", 4), ("20810", "SFR", 3), ("20815", "Free", 2), ("20820", "Bouygues", 2)),
        58_000,
        *_WESTERN,
    ),
    Country(
        "IN",
        12,
        ("9170", "9188", "9196", "9197", "9198", "9199"),
        8,
        (("40410", "Airtel", 4), ("405857", "Jio", 6), ("40420", "Vi", 2)),
        9_300,
        ("aarav", "ananya", "dev", "kavya", "meera", "priya", "rahul", "rohan", "sanjay", "vikram"),
        ("gupta", "iyer", "joshi", "kumar", "mehta", "nair", "patel", "rao", "sharma", "singh"),
    ),
    Country(
        "AE",
        6,
        ("97150", "97152", "97154", "97155", "97156", "97158"),
        7,
        (("42402", "Etisalat", 5), ("42403", "du", 4)),
        31_000,
        *_GULF,
    ),
    Country(
        "SA",
        6,
        ("96650", "96653", "96654", "96655", "96656", "96659"),
        7,
        (("42001", "STC", 5), ("42003", "Mobily", 3), ("42004", "Zain", 3)),
        44_000,
        *_GULF,
    ),
    Country(
        "BR",
        8,
        ("5511998", "5511997", "5521998", "5521996", "5531998", "5541999", "5551998", "5571999", "5581997"),
        6,
        (("72405", "Claro", 3), ("72406", "Vivo", 4), ("72403", "TIM", 3)),
        12_600,
        ("ana", "bruno", "camila", "diego", "felipe", "gabriela", "joana", "lucas", "rafael", "tiago"),
        (
            "almeida",
            "barbosa",
            "cardoso",
            "ferreira",
            "lima",
            "oliveira",
            "pereira",
            "rocha",
            "silva",
            "souza",
        ),
    ),
    Country(
        "NG",
        5,
        ("234703", "234706", "234803", "234805", "234806", "234810", "234813", "234816"),
        7,
        (("62120", "Airtel", 3), ("62130", "MTN", 5), ("62150", "Glo", 3), ("62160", "9mobile", 1)),
        27_000,
        ("ada", "amina", "chidi", "emeka", "ifeoma", "kelechi", "ngozi", "sade", "tunde", "yemi"),
        ("abiola", "adeyemi", "balogun", "eze", "okafor", "okoro", "onyango", "sanusi"),
    ),
    Country(
        "TR",
        5,
        ("90530", "90532", "90535", "90542", "90544", "90552", "90555"),
        7,
        (("28601", "Turkcell", 5), ("28602", "Vodafone", 3), ("28603", "Turk Telekom", 3)),
        6_100,
        ("ayse", "can", "deniz", "elif", "emre", "mehmet", "selin", "zeynep"),
        ("aydin", "celik", "demir", "kaya", "ozturk", "sahin", "yildiz", "yilmaz"),
    ),
    Country(
        "HR",
        4,
        ("38591", "38592", "38595", "38597", "38598", "38599"),
        7,
        (("21901", "T-Mobile", 4), ("21902", "Telemach", 2), ("21910", "A1", 3)),
        33_000,
        *_WESTERN,
    ),
    Country(
        "ES",
        4,
        ("34600", "34610", "34622", "34633", "34644", "34655", "34666", "34677", "34688", "34699"),
        6,
        (("21401", "Vodafone", 3), ("21403", "Orange", 3), ("21407", "Movistar", 4)),
        49_500,
        *_WESTERN,
    ),
    Country(
        "ID",
        3,
        ("62812", "62813", "62852", "62857", "62878"),
        8,
        (("51010", "Telkomsel", 5), ("51001", "Indosat", 3), ("51011", "XL", 2)),
        41_000,
        ("adi", "budi", "citra", "dewi", "eko", "indah", "putri", "rina", "sari", "wahyu"),
        ("hidayat", "kusuma", "lestari", "nugroho", "pratama", "santoso", "setiawan", "wijaya"),
    ),
)
PAKISTAN: Final = 0
_ABROAD: Final = wheel([(index, c.weight) for index, c in enumerate(COUNTRIES) if c.weight])
_DOMAINS: Final = (
    "example.com",
    "example.org",
    "example.net",
    "mail.example.com",
    "post.example.org",
    "inbox.example.net",
    "{iso}.example.com",
    "{iso}.example.org",
)


class _Plan(NamedTuple):
    prefixes: tuple[str, ...]
    choices: int
    lines: int  # 10 to the number of digits after the prefix


_PLANS: Final = tuple(_Plan(c.prefixes, len(c.prefixes), 10**c.digits) for c in COUNTRIES)
_NETWORKS: Final = tuple(wheel([(n[0], n[2]) for n in c.networks], 64) for c in COUNTRIES)
_MAIL: Final = tuple(tuple(d.format(iso=c.iso.lower()) for d in _DOMAINS) for c in COUNTRIES)


def _scattered(rank: int) -> int:
    return rank * 2_654_435_761 % 2**32 >> 8


def msisdn(country: int, rank: int) -> str:
    """Return the E.164 digits of a person; each rank of a country (an index into `COUNTRIES`) has another number."""
    prefixes, choices, lines = _PLANS[country]
    line, prefix = divmod(rank, choices)
    # An odd factor without 5 permutes the numbers of a prefix, so two ranks never share one.
    return prefixes[prefix] + str(lines + (line * 6_180_339 + 2_718_281) % lines)[1:]


def network(country: int, rank: int) -> str:
    """Return MCC and MNC of a person's network, which no prefix gives away: numbers are portable."""
    return _NETWORKS[country][_scattered(rank) % 64]


def given_name(country: int, rank: int) -> str:
    """Return a person's given name, lower case."""
    given = COUNTRIES[country].given
    return given[_scattered(rank) % len(given)]


def email(country: int, rank: int) -> str:
    """Return a person's e-mail address: no other person has it."""
    family = COUNTRIES[country].family
    scattered = _scattered(rank)
    joint = ("", ".", "_", ".")[scattered // 8192 % 4]
    name = given_name(country, rank) + joint + family[scattered // 16 % len(family)]
    return f"{name}{rank * 16 + country}@{_MAIL[country][scattered // 512 % len(_DOMAINS)]}"


def crowd(draw: Draw, pakistan: float) -> Callable[[], tuple[int, int]]:
    """Draw people, each as (country, rank): a share `pakistan` lives there, the others elsewhere."""
    if not 0 <= pakistan <= 1:
        raise ValueError("the share of end users in Pakistan is between 0 and 1")

    def anybody() -> tuple[int, int]:
        country = PAKISTAN if draw() < pakistan else _ABROAD[int(draw() * SLOTS)]
        place = draw() * OCTAVES
        octave = int(place)
        width = FIRST_RANK << octave
        return country, width + int((place - octave) * width)

    return anybody
