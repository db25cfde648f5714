"""The businesses whose traffic it is: names, senders, routes, and what they pay in which currency."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple

from lethe.testing.traffic.population import COUNTRIES
from lethe.testing.traffic.wheels import wheel

APPLICATIONS: Final = (("login-codes", 5), ("order-updates", 3), ("campaigns", 2), ("support-desk", 1))
_ROUTES: Final = ("DIRECT-1", "DIRECT-2", "HUB-1", "HUB-3", "PREMIUM-1", "WHOLESALE-2")
_RATES: Final = {"EUR": 1_000, "USD": 1_085, "GBP": 845, "PKR": 302_000, "AED": 3_984, "TRY": 35_200}


@dataclass(frozen=True, slots=True)
class Account:
    """A customer of the platform; `factor` is its price in percent of the list price."""

    name: str
    weight: int
    currencies: tuple[str, ...]
    factor: int
    decimals: int
    senders: tuple[str, ...]
    short_code: str
    long_number: str  # E.164 digits of its own number
    domain: str

    def currency(self, country: int) -> str:
        """Return what it pays in for end users of a country: one agreed currency for each."""
        return self.currencies[country % len(self.currencies)]


ACCOUNTS: Final = (
    Account("acme-retail", 20, ("EUR", "USD"), 96, 4, ("ACME", "AcmeShop"), "40404", "447520630014", "acme"),
    Account("bluefin-bank", 18, ("PKR", "EUR"), 104, 6, ("BluefinBank",), "8228", "923180000114", "bluefin"),
    Account(
        "cedar-logistics", 12, ("EUR",), 92, 5, ("CEDAR", "CedarTrack"), "32665", "385958110027", "cedar"
    ),
    Account("dune-rides", 10, ("AED", "USD"), 101, 4, ("DuneRides",), "7007", "971528880031", "dune"),
    Account("ember-energy", 8, ("GBP", "EUR"), 110, 5, ("EMBER",), "61222", "447520630045", "ember"),
    Account(
        "fjord-travel",
        7,
        ("EUR", "USD", "GBP"),
        99,
        4,
        ("FjordTravel", "FJORD"),
        "55411",
        "491570550058",
        "fjord",
    ),
    Account("garnet-health", 6, ("USD",), 115, 6, ("GarnetCare",), "24365", "13125550162", "garnet"),
    Account("harbor-insure", 5, ("USD", "PKR"), 107, 5, ("HARBOR",), "9119", "13125550179", "harbor"),
    Account("indigo-games", 5, ("TRY", "USD"), 88, 6, ("IndigoGames",), "2820", "905308880081", "indigo"),
    Account("juniper-jobs", 4, ("EUR",), 94, 4, ("JUNIPER", "JobsAlert"), "80090", "336440550094", "juniper"),
    Account("kestrel-post", 3, ("USD", "AED"), 97, 5, ("KestrelPost",), "5757", "966590550103", "kestrel"),
    Account("lumen-learning", 2, ("GBP",), 90, 6, ("Lumen2Learn",), "60777", "447520630112", "lumen"),
)
ACCOUNT_WHEEL: Final = wheel([(index, a.weight) for index, a in enumerate(ACCOUNTS)])


class Terms(NamedTuple):
    """What an account pays for end users of a country; prices are JSON numbers as text."""

    currency: str
    message: str
    second: str
    mail: str
    routes: tuple[str, str]


def money(millionths: int, decimals: int) -> str:
    """Write a JSON number with `decimals` (4 to 6) decimals, never below one unit of the last."""
    unit = 10 ** (6 - decimals)
    kept = max(1, millionths // unit)
    whole, part = divmod(kept, 10**decimals)
    return f"{whole}.{part:0{decimals}d}"


def terms(account: int, country: int) -> Terms:
    """Return the agreed terms of an account (index into `ACCOUNTS`) for a country (index into `COUNTRIES`)."""
    business, plan = ACCOUNTS[account], COUNTRIES[country]
    currency = business.currency(country)
    list_price = plan.price * _RATES[currency] // 1_000 * business.factor // 100
    second = (plan.price // 40 + 150) * _RATES[currency] // 1_000 * business.factor // 100
    mail = 480 * _RATES[currency] // 1_000 * business.factor // 100
    first = (account * 5 + country) % len(_ROUTES)
    other = (first + 1 + account % 3) % len(_ROUTES)
    return Terms(
        currency,
        money(list_price, business.decimals),
        money(second, max(5, business.decimals)),
        money(mail, max(5, business.decimals)),
        (f"{plan.iso}-{_ROUTES[first]}", f"{plan.iso}-{_ROUTES[other]}"),
    )


TERMS: Final = tuple(tuple(terms(a, c) for c in range(len(COUNTRIES))) for a in range(len(ACCOUNTS)))


def platform(account: int, application: str | None) -> str:
    """Write the `platform` member: account as entity, application when the sender named one."""
    entity = f'"platform":{{"entityId":"{ACCOUNTS[account].name}"'
    return f'{entity},"applicationId":"{application}"}}' if application else entity + "}"
