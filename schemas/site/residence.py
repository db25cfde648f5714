"""Where people reside as far as the site knows: accounts, domains, address ranges and single subjects by country."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Network, ip_address, ip_network
from itertools import pairwise
from typing import Any, Final

from lethe.schemas.countries import checked
from lethe.schemas.errors import ConfigurationError
from lethe.schemas.subjects.addresses import Subject, normalise

KINDS: Final = ("account", "domain", "range", "subject")
_MOST_LINES: Final = 1_000_000
_DOMAIN: Final = re.compile(
    r"(?=.{1,253}$)[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*"
)
_WRITE: Final = "write `kind, value, country`, such as `domain, example.pk, PK`"
_MAPPED: Final = IPv6Network("::ffff:0:0/96")
_Stretch = tuple[int, int, int, str, int]  # version, first, last, country, line


@dataclass(frozen=True, slots=True)
class Residence:
    """Country (ISO 3166 alpha-2) by account, domain, stretch of addresses and subject. `repr` shows none of them."""

    accounts: Mapping[str, str] = field(repr=False)
    domains: Mapping[str, str] = field(repr=False)
    subjects: Mapping[Subject, str] = field(repr=False)
    stretches: Sequence[tuple[int, int, int, str]] = field(repr=False)  # ascending, none overlaps another

    @property
    def count(self) -> int:
        """How many entries there are."""
        return len(self.accounts) + len(self.domains) + len(self.subjects) + len(self.stretches)

    def of_domain(self, domain: str) -> str | None:
        """Return the country of a host: the entry of the longest domain it is in counts."""
        while domain:
            if (found := self.domains.get(domain)) is not None:
                return found
            domain = domain.partition(".")[2]
        return None

    def of_address(self, address: str) -> str | None:
        """Return the country of an IP address; None for one that no range has, and for no address."""
        try:
            parsed = ip_address(address)
        except ValueError:
            return None
        place = parsed.version, int(parsed)
        at = bisect_right(self.stretches, (*place, 1 << 129, "")) - 1
        if at < 0:
            return None
        version, first, last, country = self.stretches[at]
        return country if version == place[0] and first <= place[1] <= last else None


def parse_residence(text: str, origin: str) -> Residence:
    """Read a residence table: `kind, value, country` a line; `#` begins a comment line.

    Raises `ConfigurationError` with the line and what is wrong there, never with what it says.
    """
    accounts: dict[str, tuple[str, int]] = {}
    domains: dict[str, tuple[str, int]] = {}
    subjects: dict[Subject, tuple[str, int]] = {}
    stretches: list[_Stretch] = []
    for number, line in enumerate(text.removeprefix("\ufeff").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        where = f"{origin}, line {number}"
        if number > _MOST_LINES:
            raise ConfigurationError(f"{origin}: more than {_MOST_LINES} lines")
        kind, value, country = _parts(line, where)
        if kind == "account":
            _once(accounts, value, country, number, origin)
        elif kind == "domain":
            _once(domains, _domain(value, where), country, number, origin)
        elif kind == "subject":
            subject = normalise(value)
            if subject is None:
                raise ConfigurationError(f"{where}: the value is no address of anybody")
            _once(subjects, subject, country, number, origin)
        else:
            stretches.append((*_range(value, where), country, number))
    return Residence(
        {k: c for k, (c, _) in accounts.items()},
        {k: c for k, (c, _) in domains.items()},
        {k: c for k, (c, _) in subjects.items()},
        _apart(stretches, origin),
    )


def _parts(line: str, where: str) -> tuple[str, str, str]:
    kind, comma, rest = line.partition(",")
    value, more, country = rest.rpartition(",")
    kind, value, country = kind.strip(), value.strip(), country.strip()
    if not comma or not more or not value:
        raise ConfigurationError(f"{where}: {_WRITE}")
    if kind not in KINDS:
        raise ConfigurationError(f"{where}: the kind is one of {', '.join(KINDS)}; {_WRITE}")
    if len(value) > 1 and value[0] == value[-1] == '"':  # as CSV has it
        value = value[1:-1].replace('""', '"').strip()
    try:
        checked(country)
    except ValueError as error:
        raise ConfigurationError(f"{where}: the country is {error}; {_WRITE}") from None
    return kind, value, country


def _domain(value: str, where: str) -> str:
    try:
        ascii_form = value.lower().rstrip(".").encode("idna").decode()
    except UnicodeError:
        ascii_form = ""
    if not _DOMAIN.fullmatch(ascii_form):
        raise ConfigurationError(f"{where}: the value is no domain; write it without @ and without *")
    return ascii_form


def _range(value: str, where: str) -> tuple[int, int, int]:
    try:
        network = ip_network(value)
    except ValueError:
        raise ConfigurationError(
            f"{where}: the value is no range; write it as 203.0.113.0/24 or 2001:db8::/32, without bits of a host"
        ) from None
    if (
        isinstance(network, IPv6Network)
        and network.prefixlen >= _MAPPED.prefixlen
        and network.subnet_of(_MAPPED)
    ):
        # As addresses are stored: mapped ones are of version 4.
        return 4, int(network.network_address) & 0xFFFFFFFF, int(network.broadcast_address) & 0xFFFFFFFF
    return network.version, int(network.network_address), int(network.broadcast_address)


def _once(known: dict[Any, tuple[str, int]], key: Any, country: str, number: int, origin: str) -> None:
    other = known.setdefault(key, (country, number))
    if other[1] != number:
        raise ConfigurationError(f"{origin}, line {number}: says again what line {other[1]} says")


def _apart(stretches: list[_Stretch], origin: str) -> tuple[tuple[int, int, int, str], ...]:
    stretches.sort()
    for before, after in pairwise(stretches):
        if before[0] == after[0] and after[1] <= before[2]:
            lines = sorted((before[4], after[4]))
            raise ConfigurationError(f"{origin}, line {lines[1]}: overlaps line {lines[0]}")
    return tuple(one[:4] for one in stretches)
