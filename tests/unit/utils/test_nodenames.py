"""Node names and the codes in file names."""

from __future__ import annotations

import pytest

from celeriac.utils import nodenames


@pytest.fixture(autouse=True)
def _host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodenames, "gethostname", lambda: "box.example.com")


@pytest.mark.parametrize(
    ("given", "node"),
    [
        (None, "celery@box.example.com"),
        ("other", "celery@other"),
        ("w1@", "w1@box.example.com"),
        ("w1@other", "w1@other"),
        ("w1@%h", "w1@box.example.com"),
        ("w1@%n.%d", "w1@box.example.com"),
        ("100%%@x", "100%@x"),
        ("w%q@x", "w%q@x"),
    ],
)
def test_a_node_name_is_completed_and_expanded(given: str | None, node: str) -> None:
    assert nodenames.host_format(nodenames.default_nodename(given)) == node


@pytest.mark.parametrize(
    ("text", "index", "path"),
    [
        ("/log/%n%I.log", None, "/log/w1.log"),
        ("/log/%n%I.log", 3, "/log/w1-3.log"),
        ("/log/%n-%i.log", None, "/log/w1-0.log"),
        ("%p", None, "w1@box.example.com"),
        ("%h|%d", None, "box.example.com|example.com"),
    ],
)
def test_file_names_know_the_node_and_the_process(text: str, index: int | None, path: str) -> None:
    assert nodenames.node_format(text, "w1@box.example.com", index) == path
