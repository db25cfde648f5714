"""A rejected record says by which declaration and by which release it was: one may be mended by the other."""

from __future__ import annotations

from transform_kit import Kit, rows

from lethe import __version__
from lethe.schemas.declaration import format as formats

KIT = Kit()


def test_a_rejected_record_carries_the_versions_of_declaration_and_product() -> None:
    for name in ("infobip/sms-report", "twilio/call", "web/combined", "infobip/webhooks"):
        (row,) = rows(KIT.process([b"no record of anybody's"], name).quarantine)
        assert (row["format"], row["format_version"]) == (name, formats.get(name).version)
        assert row["release"] == __version__
