"""Laws of forgetting that hold for every date, zone, policy and certificate."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lethe.integrity.log.signing import Signer
from lethe.schemas.errors import IntegrityError
from lethe.schemas.retention.calendar import Month, archive_end, window_end
from lethe.schemas.retention.data_class import TERMS, DataClass
from lethe.schemas.retention.policy import CountryPeriod, RetentionPolicy
from lethe.schemas.subjects.addresses import Subject
from lethe.tiers.certificates import certificates
from lethe.tiers.retention.archive_expiry import ended
from lethe.tiers.store.objects import LocalObjects
from lethe.tiers.window.mentions import mentions

MICROSECOND = timedelta(microseconds=1)
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda m: timezone(timedelta(minutes=m)))
INSTANTS = st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=ZONES)
COUNTRIES = ("AT", "DE", "PK")
# A period of usage data is refused for identifiers: each has keys of its own.
MONTHS = st.integers(1, 60).filter(lambda months: months != TERMS[DataClass.USAGE].default)


@st.composite
def policies(draw: st.DrawFn) -> RetentionPolicy:
    chosen = draw(st.lists(st.sampled_from(COUNTRIES), unique=True))
    periods = tuple(
        CountryPeriod(country=c, window_months=draw(st.none() | MONTHS),
                      archive_years=draw(st.none() | st.integers(0, 30)), reason="a law")
        for c in chosen
    )  # fmt: skip
    return RetentionPolicy(
        window_months=draw(MONTHS), archive_years=draw(st.integers(0, 30)), countries=periods
    )


@given(INSTANTS, policies(), st.sampled_from((None, *COUNTRIES)))
def test_a_record_is_kept_its_full_period_and_not_a_microsecond_longer(
    when: datetime, policy: RetentionPolicy, country: str | None
) -> None:
    month = Month.of(when)
    window = policy.period(DataClass.IDENTIFIERS, (country,))
    end = window.ends(month)
    assert end == window_end(month, window.length)
    assert not policy.ended(DataClass.IDENTIFIERS, month, (country,), end - MICROSECOND)
    assert policy.ended(DataClass.IDENTIFIERS, month, (country,), end)
    assert (end.day, end.hour, end.minute, end.second, end.microsecond, end.tzinfo) == (1, 0, 0, 0, 0, UTC)
    months = (end.year - month.year) * 12 + end.month - month.number
    assert months == window.length + 1
    year = when.astimezone(UTC).year
    archive = policy.period(DataClass.ARCHIVE, (country,))
    last = archive.ends(month)
    assert last == archive_end(year, archive.length)
    assert not policy.ended(DataClass.ARCHIVE, month, (country,), last - MICROSECOND)
    assert policy.ended(DataClass.ARCHIVE, month, (country,), last)


@given(policies(), st.integers(2000, 2020), INSTANTS, st.sampled_from((None, "FR", *COUNTRIES)))
def test_an_archive_row_goes_exactly_when_its_countrys_period_is_over(
    policy: RetentionPolicy, year: int, now: datetime, country: str | None
) -> None:
    import pyarrow as pa

    found = ended(policy, Month(year, 6), now)
    row = pa.table({"country": pa.array([country], pa.string())})
    stays = True if found is None else found.stays(row)[0].as_py() and not found.whole
    assert stays is not policy.ended(DataClass.ARCHIVE, Month(year, 6), (country,), now)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(count=st.integers(1, 9), at=st.integers(0, 8), salt=st.integers(0, 1 << 60))
def test_every_chain_of_certificates_verifies_and_every_change_shows(
    tmp_path: Path, count: int, at: int, salt: int
) -> None:
    folder = tmp_path / sha256(f"{count}/{at}/{salt}".encode()).hexdigest()
    objects, signer = LocalObjects(folder), Signer.generate("test", 1_700_000_000)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    registrar = certificates.Registrar(objects, signer)
    made = [
        registrar.issue(f"work-{n}", "window", {"what": {"n": n}, "done": "now"}, now) for n in range(count)
    ]
    assert registrar.issue("work-0", "window", {"what": {}}, now) == made[0], "a work is certified once"
    trusted = signer.history.keys
    assert certificates.verify_all(objects, trusted) == count
    victim = at % count
    path = folder / certificates.path_of(victim)
    path.write_bytes(path.read_bytes().replace(b'"done": "now"', b'"done": "new"'))
    with pytest.raises(IntegrityError):
        certificates.verify_all(objects, trusted)
    with pytest.raises(IntegrityError):
        certificates.verify_all(objects, Signer.generate("test", 1_700_000_000).history.keys)


SPELT = st.sampled_from(
    [
        "{d}",
        "+{d}",
        "00{d}",
        "+{a} {b}",
        "+{a}-{b}",
        "({a}) {b}",
        "%2B{d}",
        "sip:{d}@host",
        "\\u002b{d}",
        "tel:+{d};x",
    ]
)


@given(st.integers(10**9, 10**14), SPELT, st.text(max_size=20), st.text(max_size=20))
def test_a_person_is_found_in_raw_bytes_in_any_usual_spelling(
    number: int, spelt: str, before: str, after: str
) -> None:
    digits = str(number)
    text = f"{before} {spelt.format(d=digits, a=digits[:4], b=digits[4:])} {after}"
    value = text.encode("utf-8", "replace")
    assert mentions(value, [Subject("msisdn", digits)])
