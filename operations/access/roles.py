"""Who may do what: roles, permissions, and nothing by default.

A role is a set of permissions; an account has one or more roles. Whoever keeps accounts sees no data, whoever reads the
archive sees no identifiers, and whoever approves does not look for themselves.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class Role(StrEnum):
    """What somebody is in this installation."""

    INVESTIGATOR = "investigator"
    APPROVER = "approver"
    PRIVACY_OFFICER = "privacy officer"
    BILLING_ANALYST = "billing analyst"
    AUDITOR = "auditor"
    OPERATOR = "operator"
    ADMINISTRATOR = "administrator"


class Permission(StrEnum):
    """What a page or a call needs. A read of the window needs a grant beside it (`grants`)."""

    CASES = "cases"
    LOOKUP = "lookup"
    REVEAL = "reveal"
    HOLD = "hold"
    HANDOVER = "handover"
    EXPORT = "export"
    ERASE = "erase"
    RESTRICT = "restrict"
    APPROVE = "approve"
    REVIEW = "review"
    ARCHIVE = "archive"
    AUDIT = "audit"
    CERTIFICATES = "certificates"
    INTEGRITY = "integrity"
    LEDGER = "ledger"
    HEALTH = "health"
    ACCOUNTS = "accounts"


_MAY: Final[dict[Role, frozenset[Permission]]] = {
    Role.INVESTIGATOR: frozenset(
        {Permission.CASES, Permission.LOOKUP, Permission.REVEAL, Permission.HOLD, Permission.HANDOVER}
    ),
    Role.APPROVER: frozenset({Permission.APPROVE}),
    Role.PRIVACY_OFFICER: frozenset(
        {
            Permission.CASES,
            Permission.LOOKUP,
            Permission.EXPORT,
            Permission.ERASE,
            Permission.RESTRICT,
            Permission.HOLD,
            Permission.CERTIFICATES,
        }
    ),
    Role.BILLING_ANALYST: frozenset({Permission.ARCHIVE}),
    Role.AUDITOR: frozenset(
        {
            Permission.AUDIT,
            Permission.REVIEW,
            Permission.CERTIFICATES,
            Permission.INTEGRITY,
            Permission.LEDGER,
        }
    ),
    Role.OPERATOR: frozenset({Permission.HEALTH, Permission.LEDGER, Permission.INTEGRITY}),
    Role.ADMINISTRATOR: frozenset({Permission.ACCOUNTS}),
}


def roles_with(wanted: Iterable[Permission]) -> list[Role]:
    """List the roles that have one of these permissions."""
    return [role for role in Role if _MAY[role] & set(wanted)]


def permissions(roles: Iterable[Role]) -> frozenset[Permission]:
    """Collect what an account with these roles may do; nothing without a role."""
    return frozenset().union(*(_MAY[role] for role in roles))
