"""The API against its own description: whatever a program sends, the answer is one that is written down."""

from __future__ import annotations

import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance
from web_site import HER, Site

from lethe.console.web.app import make_app
from lethe.operations.access.grants import Action
from lethe.operations.access.roles import Role


def test_nothing_that_is_sent_gets_an_answer_that_is_not_described(site: Site) -> None:
    amal = site.person("amal", Role.INVESTIGATOR)
    site.service.tries.allowed = lambda _: True  # type: ignore[method-assign]  (else a minute's tries are soon used up)
    token = site.service.sessions.start(amal.id)
    schema = schemathesis.openapi.from_asgi("/api/openapi.json", make_app(site.service))
    operations = [found.ok() for found in schema.get_all_operations()]
    assert {o.label for o in operations} >= {
        "POST /api/sessions", "POST /api/search", "POST /api/cases", "GET /api/cases/{case_id}",
        "POST /api/cases/{case_id}/analysis", "POST /api/cases/{case_id}/reveal", "POST /api/detection",
    }  # fmt: skip
    cases = st.one_of(*(o.as_strategy(generation_mode=mode) for o in operations for mode in GenerationMode))

    mine = site.service.cases.open(amal, "F-1", "", "fraud")
    site.service.cases.add(amal, mine.id, "target", HER)
    site.service.desk.ask(amal, Action.LOOKUP, mine.id, site.service.window(), 10_000, [], "opened with it")

    @settings(max_examples=100, suppress_health_check=list(HealthCheck))
    @given(cases, st.booleans())
    def holds(case: schemathesis.Case, real: bool) -> None:
        if (
            real
            and "case_id" in case.path_parameters
            and case.meta.generation.mode == GenerationMode.POSITIVE
        ):
            case.path_parameters["case_id"] = mine.id
        # Rules that a schema cannot say, such as that a reference is nobody's number, are answered with 400.
        case.call_and_validate(
            headers={"Authorization": f"Bearer {token}"}, excluded_checks=[positive_data_acceptance]
        )

    holds()


def test_a_method_that_there_is_not_is_told_which_there_are(site: Site) -> None:
    browser = site.browser()
    answer = browser.request("TRACE", "/api/search")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert answer.json() == {"error": "this address does not take that method"}
    body = browser.post("/api/sessions", content=b"\xff", headers={"content-type": "application/json"})
    assert (body.status_code, body.json()) == (400, {"error": "the body of the request cannot be read"})
