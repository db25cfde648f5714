"""Languages a document is written in: how each writes dates, times and numbers, and which fonts have its letters."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final

_EN: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
    "December",
)  # fmt: skip
_ID: Final = (
    "Januari", "Februari", "Maret", "April", "Mei", "Juni", "Juli", "Agustus", "September", "Oktober", "November",
    "Desember",
)  # fmt: skip
_FR: Final = (
    "janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre",
    "décembre",
)  # fmt: skip
_TH: Final = (
    "มกราคม", "กุมภาพันธ์", "มีนาคม", "เมษายน", "พฤษภาคม", "มิถุนายน", "กรกฎาคม", "สิงหาคม", "กันยายน", "ตุลาคม",
    "พฤศจิกายน", "ธันวาคม",
)  # fmt: skip
_NUMBERS: Final = tuple(str(n) for n in range(1, 13))
_BUDDHIST: Final = 543
"""Years of the Thai calendar count from here."""


@dataclass(frozen=True, slots=True)
class Language:
    """One language: `tag` is its BCP 47 tag, `day` and `month` are patterns with {day}, {month}, {year}."""

    code: str
    tag: str
    name: str  # in English, as the console speaks
    day: str
    month: str
    clock: str
    months: tuple[str, ...]
    thousands: str
    decimal: str
    cjk: str = "Noto Sans CJK JP"
    first_of_month: str = "1"
    era: int = 0

    @property
    def fonts(self) -> list[str]:
        """The fonts of its text, the first that has a letter first."""
        return ["Noto Sans", "Noto Sans Thai", self.cjk]

    def date(self, value: date) -> str:
        """Write a date; of an instant, the date in UTC."""
        if isinstance(value, datetime):
            value = value.astimezone(UTC).date()
        day = self.first_of_month if value.day == 1 else str(value.day)
        return self.day.format(day=day, month=self.months[value.month - 1], year=value.year + self.era)

    def year_month(self, value: str) -> str:
        """Write a month, which is given as `2026-03`."""
        year, month = value.split("-")
        return self.month.format(month=self.months[int(month) - 1], year=int(year) + self.era)

    def instant(self, value: datetime) -> str:
        """Write an instant to the second, in UTC."""
        at = value.astimezone(UTC)
        return f"{self.date(at)} {at.strftime(self.clock)}"

    def number(self, value: int | Decimal) -> str:
        """Write a number with the separators of the language."""
        grouped = f"{value:,}"
        return grouped.replace(",", "\0").replace(".", self.decimal).replace("\0", self.thousands)

    def said(self, value: Any) -> str:
        """Write whatever stands in a table."""
        if value is None:
            return ""
        if isinstance(value, datetime):
            return self.instant(value)
        if isinstance(value, date):
            return self.date(value)
        if isinstance(value, int | Decimal) and not isinstance(value, bool):
            return self.number(value)
        return str(value)


LANGUAGES: Final = {
    language.code: language
    for language in (
        Language("en", "en-GB", "English", "{day} {month} {year}", "{month} {year}", "%H:%M:%S", _EN, ",", "."),
        Language(
            "ja", "ja", "Japanese", "{year}年{month}月{day}日", "{year}年{month}月", "%H:%M:%S", _NUMBERS, ",", "."
        ),
        Language(
            "zh-Hant", "zh-Hant-TW", "Traditional Chinese", "{year} 年 {month} 月 {day} 日", "{year} 年 {month} 月",
            "%H:%M:%S", _NUMBERS, ",", ".", cjk="Noto Sans CJK TC",
        ),
        Language(
            "id", "id", "Indonesian", "{day} {month} {year}", "{month} {year}", "%H.%M.%S", _ID, thousands=".",
            decimal=",",
        ),
        Language(
            "fr", "fr", "French", "{day} {month} {year}", "{month} {year}", "%H:%M:%S", _FR, thousands="\u202f",
            decimal=",", first_of_month="1er",
        ),
        Language(
            "th", "th", "Thai", "{day} {month} พ.ศ. {year}", "{month} พ.ศ. {year}", "%H:%M:%S", _TH, ",", ".",
            era=_BUDDHIST,
        ),
    )
}  # fmt: skip
