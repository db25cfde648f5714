"""Random sequences of asking, approving, revoking, time and roles: never a read without a grant.

The judge keeps a plain list of what happened and says from it alone what may be read; it shares no code with the desk.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from datetime import timedelta
from functools import cache, partial
from pathlib import Path

from access_world import World
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from lethe.operations.access import tables
from lethe.operations.access.accounts import Person
from lethe.operations.access.database import Database
from lethe.operations.access.grants import Action, Grant, Read, RefusedError
from lethe.operations.access.roles import Role
from lethe.operations.access.sessions import SignedIn
from lethe.operations.window.answers import Answers
from lethe.schemas.errors import LetheError

PEOPLE = ("amal", "bela", "carl")
ROLES = st.sets(st.sampled_from([Role.INVESTIGATOR, Role.APPROVER, Role.PRIVACY_OFFICER, Role.AUDITOR]))
ACTIONS = st.sampled_from([Action.LOOKUP, Action.REVEAL, Action.BULK_REVEAL, Action.HOLD])
VALUES = st.sampled_from([("+923001111111",), ("+923002222222",), ("+923001111111", "+923002222222")])
MONTHS = st.sampled_from([("2026-01", "2026-03"), ("2026-02", "2026-02"), ("2026-03", "2026-05")])
WHO = st.sampled_from(PEOPLE)
HEAVY = {Action.BULK_REVEAL, Action.HOLD}
LOOKERS = {
    Action.LOOKUP: {Role.INVESTIGATOR, Role.PRIVACY_OFFICER},
    Action.REVEAL: {Role.INVESTIGATOR},
    Action.BULK_REVEAL: {Role.INVESTIGATOR},
    Action.HOLD: {Role.INVESTIGATOR, Role.PRIVACY_OFFICER},
}


@cache
def database() -> Database:
    """Make one database in memory for all sequences: to migrate and to compile is most of what one costs."""
    made = Database("sqlite://")
    made.upgrade()
    return made


def empty() -> Database:
    """Give the database with nothing in it."""
    with database().begin() as session:
        for table in reversed(tables.Base.metadata.sorted_tables):
            session.execute(table.delete())
    return database()


class Sequences(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm")  # many small synced files, none to be kept
        self.world = World(Path(self.folder.name), database=empty())
        self.world.desk._daily = 10_000
        self.people: dict[str, Person] = {}
        self.cases: dict[str, str] = {}
        self.roles: dict[str, set[Role]] = {}
        self.closed: set[str] = set()
        self.shut: set[str] = set()
        self.opened = 0
        self.grants: list[dict[str, object]] = []
        self.kept: list[dict[str, object]] = []
        self.standing = 0
        self.session = dict.fromkeys(PEOPLE, 0)
        self.answers = Answers(self.world.ring, self.world.desk, self.world.clock, lambda: str(self.standing))
        for name in PEOPLE:
            first = {Role.INVESTIGATOR, Role.APPROVER} if name != "carl" else {Role.APPROVER}
            self.people[name] = self.world.person(name, Role.INVESTIGATOR, *first, password=None)
            self.roles[name] = {Role.INVESTIGATOR, *first}
            self.cases[name] = self.world.case(self.people[name], f"F-{name}").id
            self.set_roles(name, first)

    def now(self, name: str) -> Person:
        return next(p for p in self.world.accounts.all() if p.name == name)

    @rule(name=WHO, roles=ROLES)
    def set_roles(self, name: str, roles: set[Role]) -> None:
        self.world.accounts.set_roles(self.people[name].id, roles)
        self.roles[name] = set(roles)

    @rule(name=WHO, shut=st.booleans())
    def close_account(self, name: str, shut: bool) -> None:
        self.world.accounts.disable(self.people[name].id, shut)
        (self.shut.add if shut else self.shut.discard)(name)
        for grant in self.grants:
            if shut and grant["who"] == name:
                grant["good"] = False

    @rule(name=WHO, action=ACTIONS, values=VALUES, months=MONTHS, rows=st.integers(1, 4), glass=st.booleans())
    def ask(
        self,
        name: str,
        action: Action,
        values: tuple[str, ...],
        months: tuple[str, str],
        rows: int,
        glass: bool,
    ) -> None:
        try:
            grant = self.world.desk.ask(
                self.now(name), action, self.cases[name], months, rows, values, "why", glass
            )
        except LetheError:
            return
        self.grants.append(
            {
                "id": grant.id, "who": name, "action": action, "values": values, "months": months, "rows": rows,
                "begins": self.world.now, "ends": self.world.now + (timedelta(hours=1) if glass else timedelta(days=7)),
                "good": glass or action not in HEAVY, "glass": glass,
                "digest": grant.scope.digest(), "used": 0,
            }
        )  # fmt: skip

    @rule(name=WHO, which=st.integers(0, 30), right=st.booleans(), yes=st.booleans())
    def answer(self, name: str, which: int, right: bool, yes: bool) -> None:
        if not self.grants:
            return
        grant = self.grants[which % len(self.grants)]
        decide = self.world.desk.approve if yes else self.world.desk.refuse
        try:
            decide(self.now(name), str(grant["id"]), str(grant["digest"]) if right else "0" * 64)
        except LetheError:
            return
        assert name != grant["who"]
        assert right
        assert Role.APPROVER in self.roles[name]
        assert name not in self.shut
        grant["good"] = yes
        grant["begins"] = self.world.now if yes else grant["begins"]

    @rule(name=WHO, which=st.integers(0, 30))
    def revoke(self, name: str, which: int) -> None:
        if not self.grants:
            return
        grant = self.grants[which % len(self.grants)]
        try:
            self.world.desk.revoke(self.now(name), str(grant["id"]))
        except LetheError:
            return
        grant["good"] = False
        grant["revoked"] = True

    @rule(minutes=st.sampled_from([1, 45, 60, 24 * 60, 7 * 24 * 60, -1, -90]))
    def wait(self, minutes: int) -> None:
        """Let time pass; a clock that is set back gives nothing that had ended, and takes what had not begun."""
        self.world.wait(minutes=minutes)

    @rule(name=WHO)
    def close(self, name: str) -> None:
        self.world.cases.close(self.people[name], self.cases[name])
        self.closed.add(name)

    @rule(name=WHO)
    def reopen_another(self, name: str) -> None:
        if name in self.closed - self.shut and Role.INVESTIGATOR in self.roles[name]:
            self.opened += 1
            self.cases[name] = self.world.case(self.now(name), f"F-{name}-{self.opened}").id
            self.closed.discard(name)
            for grant in self.grants:
                if grant["who"] == name:
                    grant["good"] = False

    @rule(
        name=WHO,
        owner=WHO,
        action=ACTIONS,
        values=VALUES,
        months=MONTHS,
        rows=st.integers(0, 6),
        once=st.booleans(),
    )
    def read(
        self,
        name: str,
        owner: str,
        action: Action,
        values: tuple[str, ...],
        months: tuple[str, str],
        rows: int = 1,
        once: bool = False,
    ) -> None:
        person = self.now(name)
        may = [
            g
            for g in self.grants
            if g["good"]
            and name == owner == g["who"]
            and name not in self.closed
            and self.roles[name] & LOOKERS[action]
            and g["action"] is action
            and name not in self.shut
            and g["begins"] <= self.world.now < g["ends"]
            and g["months"][0] <= months[0] <= months[1] <= g["months"][1]
            and g["used"] < g["rows"]
            and (action not in HEAVY or sorted(g["values"]) == sorted(values))
        ]
        use = self.world.desk.use_once if once else self.used
        try:
            used, count = use(person, Read(person.id, action, self.cases[owner], *months), values)
        except RefusedError:
            assert not may, "refused although a grant covers it"
            return
        (grant,) = [g for g in self.grants if g["id"] == used.id]
        assert grant in may, "read without a grant that covers it"
        left = grant["rows"] - grant["used"]
        given: int | None = None
        try:
            given = count(rows)
        except RefusedError:
            assert rows > left, "refused although there are rows for it"
            given = min(rows, left)
        else:
            given = rows if given is None else given
            assert given == min(rows, left), "more or fewer rows than the grant has"
        grant["used"] = grant["rows"] if once and not grant["glass"] else grant["used"] + max(1, given)
        question = {"values": values}
        wanted = Read(person.id, action, self.cases[owner], *months)
        kept = self.answers.keep(
            self.signed_in(name), wanted, used.id, question, str(self.standing), {"n": len(self.kept)}
        )
        self.kept.append(
            {
                "id": kept, "grant": grant, "read": wanted, "question": question, "standing": self.standing,
                "session": (name, self.session[name]), "at": self.world.now, "case": self.cases[owner],
            }
        )  # fmt: skip

    def used(self, person: Person, read: Read, values: tuple[str, ...]) -> tuple[Grant, Callable[[int], int]]:
        grant = self.world.desk.use(person, read, values)
        return grant, partial(self.world.desk.took, grant.id)

    @rule(
        name=WHO,
        values=VALUES,
        change=st.sampled_from(["", "revoke", "role", "close", "shut", "ends", "waits"]),
    )
    def look_and_turn_the_page(self, name: str, values: tuple[str, ...], change: str) -> None:
        """Look under a grant of one's own, let something happen, and turn the page."""
        before = len(self.kept)
        self.ask(name, Action.LOOKUP, values, ("2026-01", "2026-03"), 4, False)
        self.read(name, name, Action.LOOKUP, values, ("2026-02", "2026-02"))
        if len(self.kept) == before:
            return
        if change == "revoke":
            self.revoke(name, self.grants.index(self.kept[-1]["grant"]))
        elif change == "role":
            self.set_roles(name, {Role.AUDITOR})
        elif change == "close":
            self.close(name)
        elif change == "shut":
            self.close_account(name, True)
        elif change == "ends":
            self.restrict_or_erase()
        elif change == "waits":
            self.wait(15)
        given = self.turned(name, 0, True)
        assert given is (change == ""), "kept while all holds, and only then"

    def signed_in(self, name: str) -> SignedIn:
        return SignedIn(self.now(name), f"{name} {self.session[name]}")

    @rule(name=WHO)
    def sign_in_again(self, name: str) -> None:
        self.answers.forget(self.signed_in(name))
        self.session[name] += 1

    @rule()
    def restrict_or_erase(self) -> None:
        self.standing += 1

    @rule(name=WHO, which=st.integers(0, 12), same=st.sampled_from([True, True, True, False]))
    def page(self, name: str, which: int, same: bool) -> None:
        self.turned(name, which, same)

    def turned(self, name: str, which: int, same: bool) -> bool:
        """Ask for the next page of an answer: given only while all that let it be read still holds."""
        if not self.kept:
            return False
        kept = self.kept[-1 - which % len(self.kept)]
        grant = kept["grant"]
        question = kept["question"] if same else {"values": ["another"]}
        given = self.answers.again(self.signed_in(name), kept["read"], question, str(kept["id"]))
        if given is None:
            return False
        assert same, "an answer to another question"
        assert given == {"n": self.kept.index(kept)}
        assert (name, self.session[name]) == kept["session"], "an answer of another session"
        assert kept["standing"] == self.standing, "shown although what may be shown has changed"
        assert timedelta(0) <= self.world.now - kept["at"] < timedelta(minutes=15)
        assert grant["good"]
        assert grant["begins"] <= self.world.now < grant["ends"]
        assert name not in self.shut
        assert self.roles[name] & LOOKERS[kept["read"].action]
        assert kept["case"] == self.cases[name]
        assert name not in self.closed, "the case is closed"
        return True

    def teardown(self) -> None:
        if hasattr(self, "folder"):
            self.folder.cleanup()


TestSequences = Sequences.TestCase
TestSequences.settings = settings(
    max_examples=int(os.environ.get("LETHE_SEQUENCES", "120")),
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
