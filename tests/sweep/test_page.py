"""The report is one file that asks for nothing, opens, and tells what matters first."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from deltalakedb.cli.commands.sweep import _show
from deltalakedb.sweep.findings import KINDS, Finding
from deltalakedb.sweep.page import page
from tests.sweep.nights import night, past


@pytest.fixture(scope="module")
def large() -> str:
    report = night(5_000, drift=120, failed=5, lag=40, stale=300)
    return page(report, past(report), {"options": "--deadline 3600"})


class Elements(HTMLParser):
    """Attributes by tag, and the headings in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_five_thousand_tables_fit(large: str) -> None:
    assert len(large.encode()) <= 2_000_000
    elements = Elements(large)
    assert len([a for a in elements.of("tr") if (a.get("id") or "").startswith("t-")]) == 5_000
    # Details of the worst alone, and what was left out is counted.
    assert large.count('<section class="urgent') == 100
    assert "And 25 more" in large


def test_nothing_is_asked_for(large: str) -> None:
    elements = Elements(large)
    for tag, attributes in elements.found:
        assert not {"src", "srcset", "action", "style", "onclick"} & attributes.keys(), tag
        href = attributes.get("href")
        assert href is None or href.startswith("#"), href
    assert not {"link", "iframe", "img", "object"} & {tag for tag, _ in elements.found}
    [style] = re.findall(r"<style>(.*?)</style>", large, re.S)
    [script] = re.findall(r"<script>(.*?)</script>", large, re.S)
    assert "url(" not in style
    assert "@import" not in style
    assert not re.search(r"fetch|XMLHttp|import\(|https?:", script)
    # The policy lets just these two run, by their hashes.
    [policy] = [a["content"] for a in elements.of("meta") if a.get("http-equiv")]
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    for text in (style, script):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy
    assert "unsafe" not in policy


def test_links_lead_to_their_tables(large: str) -> None:
    elements = Elements(large)
    anchors = {a["id"] for _, a in elements.found if a.get("id")}
    targets = {str(a["href"])[1:] for a in elements.of("a")}
    assert targets
    assert targets <= anchors
    ids = [a["id"] for _, a in elements.found if a.get("id")]
    assert len(ids) == len(set(ids))


def test_what_matters_comes_first(large: str) -> None:
    order = re.findall(r'<h2 id="(\w+)"', large)
    assert order == [
        *("urgent", "lagging", "changed", "stale", "nights", "slowest", "every", "unseen", "made"),
    ]
    assert "<h1>Of 5,000 tables, 120 differ from their logs" in large
    assert all(a.get("scope") for a in Elements(large).of("th"))


def test_texts_of_others_stay_texts() -> None:
    report = night(3, drift=1)
    [table] = report.of("drift")
    table.findings = [Finding("files-lost", "<script>alert(1)</script> s3://k:secret@b/x")]
    html = page(report, past(report), {})
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html
    assert "secret" not in html


def test_a_quiet_night_says_so() -> None:
    html = page(night(12, drift=0), past(night(12, drift=0)), {})
    assert "All 12 tables say what their logs say." in html
    assert "What this night did not look at" in html


def test_every_kind_has_a_command_that_is_one() -> None:
    for kind in KINDS:
        command = Finding(kind, "x").command("a b")
        assert command.startswith("dl ")
        assert "'a b'" in command


def test_a_terminal_sees_first_what_differs(capsys: pytest.CaptureFixture[str]) -> None:
    report = night(400, drift=2, failed=1, lag=200)
    _show(report, "table")
    lines = [line for line in capsys.readouterr().out.splitlines() if "->" not in line]
    worst = [t.row.full_name for status in ("drift", "failed") for t in report.of(status)]
    assert [line.split(":")[0].strip() for line in lines[1:4]] == worst
    assert lines[-1].strip().startswith("and 153 more;")
