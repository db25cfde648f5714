"""How large a request may be, whatever it says of itself."""

from __future__ import annotations

from web_site import Site


def test_a_request_that_does_not_say_its_size_is_refused_unread(site: Site) -> None:
    """In pieces a request can go on for ever, and nobody has to be signed in to send one."""
    read: list[int] = []

    def pieces() -> object:
        for number in range(1_000):
            read.append(number)
            yield b"x" * 1_000

    answer = site.browser().post("/sign-in", content=pieces())
    assert answer.status_code == 411
    assert "x-frame-options" not in answer.text


def test_one_that_is_too_large_or_says_no_number_is_refused(site: Site) -> None:
    browser = site.browser()
    large = browser.post("/sign-in", content=b"x" * 262_145)
    assert large.status_code == 413
    assert "too much at once" in large.text
    assert large.headers["x-frame-options"] == "DENY"
    assert browser.post("/api/search", content=b"x" * 262_145).json()["error"].startswith("that is too much")
    for length in ("-1", "1e3", "0x10", ""):
        assert browser.post("/sign-in", content=b"", headers={"content-length": length}).status_code == 413
