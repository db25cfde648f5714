"""Every use case either leaves an audit entry or says here why none is needed: a new one that does neither fails."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path
from typing import TypeGuard

ROOT = Path(__file__).parents[3] / "operations"

NO_ENTRY = {
    "detection.detect.planned": "adds up how many rows the tables say their files have",
    # Whole modules: the archive, what is made of it, the ledger and the state of the installation name nobody.
    "adjustments": "positions in the archive",
    "archive": "the archive names nobody",
    "billing": "the archive names nobody",
    "codes": "codes of routes, networks and states",
    "compact": "rewrites files, shows sizes",
    "keys.give_up.look": "states of a month's keys, before a step that is audited",
    "keys.give_up.said": "states of months' keys",
    "retention.hold_export.export_packed": "hold_export.export as one file, which is audited",
    "window.visibility.standing": "a digest of which restrictions, erasures and keys there are",
    "health": "states of the installation, counts",
    "intake.ingest.ingest": "records come in, none is shown",
    "intake.ingest.stream_of": "names a stream",
    "intake.undo.before_undo": "counts, before a question that is audited when it is answered",
    "intake.quarantine.counted": "a count",
    "intake.quarantine.listed": "reasons and positions of many records, no value: what a producer has to mend",
    "intake.replay.replay": "a part of quarantine.replay, which is audited",
    "proof.audit_anchor.anchor": "checkpoints",
    "proof.audit_anchor.check_keys": "public keys",
    "proof.audit_anchor.check_stamps": "checkpoints",
    "proof.audit_anchor.read_anchors": "checkpoints",
    "proof.audit_anchor.stamp_anchors": "checkpoints",
    "proof.originals.compare_originals": "opens originals, shows names of columns and positions",
    "proof.originals.differences": "a part of evidence, which is audited",
    "proof.publisher.anchor_audit": "checkpoints",
    "proof.publisher.publication_of": "hashes",
    "proof.publisher.publish_now": "hashes",
    "proof.signer.signer_of": "keys of the log, for other use cases",
    "proof.signing.history_of": "public keys",
    "proof.signing.make_keys": "the first keys, as the first record makes them; nobody is asked",
    "proof.verify.compare": "a part of verify: hashes and positions",
    "proof.verify.look": "a part of verify: positions",
    "proof.verify.verify": "hashes and positions",
    "retention.certificates.every": "certificates name nobody",
    "retention.certificates.own_keys": "public keys",
    "retention.certificates.read": "certificates name nobody",
    "retention.certificates.verify_all": "certificates name nobody",
    "retention.expire.preview": "months and counts",
    "retention.hold.before_release": "counts, before a question that is audited when it is answered",
    "retention.hold.every": "holds as the authority named them; whom they cover is not shown",
    "retention.sweep.registrar": "for other use cases",
    "retention.sweep.run_sweep": "runs by the clock; its certificates are its record",
    # The audit itself holds tokens.
    "oversight.disclosures.about": "for other use cases, which are audited",
    "oversight.disclosures.looks": "for other use cases, which are audited",
    "oversight.entries.listed": "entries name nobody who was looked at",
    "oversight.entries.newest": "entries name nobody who was looked at",
    "oversight.signing.audit_keys": "public keys",
    "oversight.verify.verify": "entries are compared, not shown",
    "oversight.verify.verify_ends": "entries are compared, not shown",
    "quality.listed": "shares, units and codes of formats: no record is shown",
    # Parts of those that are audited.
    "rights.erase.erase": "one person of erase_all, which is audited",
    "rights.erase.preview": "one person of preview_all, which is audited",
    "rights.export.export": "one person of export_all, which is audited",
    "window.lookup.asked_for": "reads what was typed, looks nothing up",
    "window.lookup.lookup": "one value of lookup_each, which is audited",
    "window.lookup.paired": "a part of the look-up",
    "window.visibility.hidden_people": "decides what may be shown, shows nothing",
    "window.visibility.hidden_tokens": "decides what may be shown, shows nothing",
    "window.visibility.hides_record": "decides what may be shown, shows nothing",
    "window.visibility.hides_value": "decides what may be shown, shows nothing",
}


def use_cases() -> dict[str, bool]:
    """Every public function that takes the runtime -> whether it, or a private one it calls, writes an audit entry."""
    found: dict[str, bool] = {}
    for file in ROOT.rglob("*.py"):
        name = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        body = ast.parse(file.read_text("utf-8")).body
        private = {f.name: f for f in body if isinstance(f, ast.FunctionDef) and f.name.startswith("_")}
        for node in body:
            if _is_use_case(node) and (name, node.name) not in {
                ("asker", "record"),
                ("asker", "record_each"),
            }:
                found[f"{name}.{node.name}"] = _records(node, private)
    return found


def _is_use_case(node: ast.stmt) -> TypeGuard[ast.FunctionDef]:
    if not isinstance(node, ast.FunctionDef) or node.name.startswith("_") or not node.args.args:
        return False
    return node.args.args[0].arg == "runtime"


def _declared(name: str) -> str:
    """Name what stands in `NO_ENTRY`: the room or the module as a whole if that is there."""
    room = name.partition(".")[0]
    return room if room in NO_ENTRY else name


def _records(function: ast.FunctionDef, private: Mapping[str, ast.FunctionDef]) -> bool:
    called = {
        node.func.id
        for node in ast.walk(function)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
    }
    if called & {"record", "record_each"}:
        return True
    others = {name: f for name, f in private.items() if f is not function}
    return any(_records(others[name], others) for name in called & others.keys())


def test_every_use_case_is_audited_or_says_why_not() -> None:
    found = use_cases()
    assert len(found) > 60, "the use cases are found at all"
    silent = {_declared(name) for name, audited in found.items() if not audited}
    assert silent - NO_ENTRY.keys() == set(), "write an audit entry, or say in NO_ENTRY why none is needed"
    assert NO_ENTRY.keys() - silent == set(), "these are audited, or are no longer there"


def test_what_decides_a_grant_is_audited() -> None:
    """The desk is a class: each of its methods that changes something audits before it does."""
    tree = ast.parse((ROOT / "access" / "desk.py").read_text("utf-8"))
    (desk,) = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "Desk")
    methods = {n.name: ast.unparse(n) for n in desk.body if isinstance(n, ast.FunctionDef)}
    for name in ("ask", "_decide", "revoke", "review"):
        assert "self._audit(" in methods[name], name
    for name in ("approve", "refuse"):
        assert "self._decide(" in methods[name], name
