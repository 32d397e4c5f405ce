"""The report's page: what it says, in which order, that no text in it acts, and what it refuses."""

import base64
import copy
import hashlib
import html
import re
from html.parser import HTMLParser

import pytest
from shift_report import PIXEL, condition, full_report, picture, small_report

from gnl_jax.report.html import report_page, write_page

SECTIONS = ("summary", "alarms", "shifts", "scores", "defects", "stopped", "missed", "matching", "drift")
HOSTILE = (
    '"><img src=x onerror=alert(1)>.png',
    "</script><script>alert(1)</script>.png",
    "'--><svg onload=alert(1)>&lt;{{ 7 * 7 }}{% raw %}",
    "\x1b[31mred\x00\x9b\n.png",
    "\u202egnp.exe\u2066",
    b"caf\xe9.png".decode(errors="surrogateescape"),
    "\ud83d",
)


class Elements(HTMLParser):
    """Every element in order with its attributes, and the text between them by element."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict]] = []
        self.text: dict[str, list[str]] = {}
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        tag = self.elements[-1][0] if self.elements else ""
        self.text.setdefault(tag, []).append(data)

    def of(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]


def words(page: str) -> str:
    """The page's text without style and script, all white space between words one space."""
    body = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", body)))


def test_the_sections_come_in_this_order():
    page = report_page(small_report())
    ids = [attributes["id"] for attributes in Elements(page).of("section")]
    assert ids == [*SECTIONS, "training", "provenance", "auroc"]
    links = [attributes["href"] for attributes in Elements(page).of("a")]
    assert links[: len(ids)] == [f"#{name}" for name in ids]


def test_sentences_come_before_everything_else():
    report = small_report()
    text = words(report_page(report))
    places = [text.index(sentence) for sentence in report["summary"]]
    places += [text.index(c["sentence"]) for c in report["conditions"]]
    assert places[:2] == sorted(places[:2])
    assert max(places) < text.index("Good parts stopped under each condition")


def test_the_table_has_a_row_for_each_condition_and_auroc_last():
    report = small_report()
    page = report_page(report)
    table = page[page.index('<table id="conditions">') : page.index('<section id="shifts"')]
    headings = re.findall(r"<button[^>]*>(.*?)</button>", table)
    assert headings[:5] == ["Condition", "Family", "Severity", "Kind", "Training"]
    assert headings[5:8] == ["Good parts stopped", "Rejected", "Promised"]
    assert headings[9:] == ["Matching on", "Matching off", "Baseline", "Drift", "AUROC"]
    rows = re.findall(r"<tr data-kind.*?</tr>", table, flags=re.DOTALL)
    assert [len(re.findall("data-value", row)) for row in rows] == [len(headings)] * 4
    clean, gain = words(rows[0]), words(rows[1])
    c = report["conditions"][1]
    low, high = c["stopped_interval"]
    assert f"{c['stopped']} of 100" in gain
    assert f"{100 * low:.1f}–{100 * high:.1f} %" in gain
    assert " 5 % no guarantee" in gain
    assert f"{sum(defect['stopped'] for defect in c['defects'])} of 80" in gain
    assert "no guarantee under shift" in gain
    assert "no guarantee under shift" not in clean
    assert table.count("no guarantee under shift") == 3
    assert gain.rstrip().endswith(f"{c['auroc']:.3f}")


@pytest.mark.parametrize(
    ("n", "stopped", "interval", "outcome"),
    [
        (100, 30, [0.2, 0.4], "more than promised"),
        (100, 8, [0.035, 0.152], "perhaps more than promised"),
        (100, 5, [0.016, 0.113], "as promised"),
        (0, 0, [0.0, 1.0], "no good parts"),
    ],
)
def test_what_is_more_than_promised_is_said_in_words(n, stopped, interval, outcome):
    c = condition(n=n, stopped=stopped, stopped_interval=interval, rejected=0, matchings={}, baseline=None)
    page = report_page(small_report(conditions=[c]))
    assert f'title="{outcome}"' in page
    assert page.count("<h3>") == 3  # of this outcome alone, and two of the provenance


def test_thumbnails_stand_by_family_in_order_of_severity():
    page = report_page(small_report())
    strips = page[page.index('<section id="shifts"') : page.index('<section id="scores"')]
    assert re.findall('alt="(.*?)"', strips) == ["clean", "line 7, new lamp", "clean", "gain_up 2", "gain_up 10"]
    assert strips.count(PIXEL) == 5


def test_histograms_mark_both_thresholds_and_only_clean_is_open():
    report = small_report()
    page = report_page(report)
    assert re.findall("<details id=.*?>", page)[:2] == [
        '<details id="c0" class="clean" open>',
        '<details id="c1">',
    ]
    histograms = re.findall(r"<svg class=\"histogram\".*?</svg>", page, flags=re.DOTALL)
    assert [h.count("threshold review") for h in histograms] == [1] * 4
    assert [h.count("threshold ng") for h in histograms] == [1] * 4
    assert "stop 1<" in histograms[0]
    assert "reject 1.3<" in histograms[0]
    page = report_page(small_report(thresholds={"ng": None, "review": 1.0}))
    assert "threshold ng" not in page


def test_a_histogram_is_drawn_to_scale():
    c = condition(histogram={"edges": [0, 1, 2], "good": [3, 1], "bad": [0, 5]})
    page = report_page(small_report(conditions=[c], thresholds={"ng": 4.0, "review": 1.0}))
    # From 0 at 6 to the threshold 4 at 414; 3/4 and 1/4 up, all of the defects down by the full 64.
    assert 'class="good" d="M6.0 104V56.0H108.0V88.0H210.0V104Z"' in page
    assert 'class="bad" d="M6.0 104V104.0H108.0V168.0H210.0V104Z"' in page
    assert 'class="threshold ng" d="M414.0 32V168"' in page


def test_defects_matching_drift_training_and_provenance_are_there():
    seen = condition("jpeg 1", kind="simulated", family="jpeg", severity=1) | {"seen": True, "seen_note": "as JPEG"}
    report = small_report()
    report["conditions"].append(seen)
    text = words(report_page(report))
    for expected in ("crack", "stain", "on: efdm", "off", "drifted", "Not seen", "Unknown"):
        assert expected in text, expected
    assert "Seen in training (1) jpeg – as JPEG" in text
    assert re.search(r"versions\s+jax\s+0.10.2", text)
    assert re.search(r"folders\s+good, bad", text)
    assert "calibration images" in text
    assert "0123456789abcdef" * 4 in text


def test_training_may_cover_some_severities_of_a_family():
    rows = [
        condition(f"jpeg {i}", kind="simulated", family="jpeg", severity=i) | {"seen": i < 3, "seen_note": note}
        for i, note in enumerate(("as JPEG", "as JPEG", "beyond it", "beyond it"), start=1)
    ]
    text = words(report_page(small_report(conditions=rows)))
    assert "Seen in training (1) jpeg 1, 2 – as JPEG" in text
    assert "Not seen (1) jpeg 3, 4 – beyond it" in text


def test_what_is_missing_is_said():
    c = condition(drift=None, matchings={}, baseline=None, defects=[], auroc=None)
    rules = {"ng": None, "review": None, "drift": None}
    galleries = {"false_alarms": [], "missed": []}
    text = words(report_page(small_report(conditions=[c], rules=rules, galleries=galleries, provenance={})))
    for sentence in ("No images of defects were given", "Drift was not measured", "with matching efdm alone"):
        assert sentence in text
    assert text.count("None.") == 2
    report_page(small_report(conditions=[]))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup(text):
    """A report full of it has the elements and attributes of a harmless one."""

    def filled(word: str) -> str:
        report = small_report(title=word, summary=[word], provenance={word: [word, {word: word}]})
        report["artifact"] |= dict.fromkeys(("file", "sha256", "method", "matching", "teacher", word), word)
        report["rules"] = {key: {"rate": 0.1, "text": word} for key in ("ng", "review", "drift")}
        counts = {"stopped": 1, "rejected": 0}
        names = dict.fromkeys(("name", "family", "seen_note", "sentence"), word)
        fields = names | {"matchings": {word: counts}, "defects": [{"name": word, "n": 2, **counts}]}
        report["conditions"] = [condition() | fields, condition(kind="own") | fields | {"family": None}]
        shown = picture(word, condition=word, decision=word, image=f"{PIXEL}{word}", overlay=f"{PIXEL}{word}")
        report["galleries"] = {"false_alarms": [shown], "missed": [shown]}
        return report_page(report)

    page = filled(text)
    page.encode()
    harmless, hostile = Elements(filled("word")), Elements(page)
    shape = [(tag, list(attributes)) for tag, attributes in harmless.elements]
    assert [(tag, list(attributes)) for tag, attributes in hostile.elements] == shape
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\u2066]", page)
    assert hostile.text["script"] == harmless.text["script"]


def test_what_cannot_be_shown_is_shown_as_an_escape():
    names = ["a\x1b[31m", b"\xff".decode(errors="surrogateescape"), "\u202ex", "näïve 箱 \U0001f600"]
    page = report_page(small_report(summary=names))
    for shown in (r"a\x1b[31m", r"\udcff", r"\u202ex", "näïve 箱 \U0001f600"):
        assert f"<li>{shown}</li>" in page


def test_nothing_is_fetched_and_no_other_script_runs():
    page = report_page(small_report())
    elements = Elements(page)
    assert {tag for tag, _ in elements.elements} & {"iframe", "object", "embed", "base", "video", "audio"} == set()
    sources = [a[key] for _, a in elements.elements for key in ("src", "href", "srcset", "action") if key in a]
    assert all(source.startswith(("data:image/", "#")) for source in sources)
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest", page)
    assert not any(key.startswith("on") or key == "style" for _, a in elements.elements for key in a)
    policy = elements.of("meta")[1]["content"]
    assert policy.startswith(
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'sha256-"
    )
    (script,) = re.findall(r"<script>(.*?)</script>", page, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"'sha256-{digest}'" in policy


@pytest.mark.parametrize("uri", ["http://example.com/x.png", "javascript:alert(1)", "data:text/html,x", "", None, 5])
def test_images_are_data_uris(uri):
    broken = [
        small_report(conditions=[condition(thumbnail=uri)]),
        small_report(galleries={"false_alarms": [picture("x", image=uri)], "missed": []}),
        small_report(galleries={"false_alarms": [], "missed": [picture("x", overlay=uri)]}),
    ]
    for report, field in zip(broken, ("thumbnail", "image", "overlay")):
        with pytest.raises(ValueError, match=rf"{field}: got .*, expected data:image/"):
            report_page(report)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schema": 2}, r"report.schema: got 2, expected one of 1"),
        ({"title": None}, r"report.title: got None, expected str"),
        ({"summary": "text"}, r"report.summary: got 'text', expected a list"),
        ({"rules": {"ng": None, "review": None}}, r"report.rules: got .*, expected a field 'drift'"),
        ({"thresholds": {"ng": None, "review": float("nan")}}, r"report.thresholds.review: got nan, expected a finite"),
        (
            {"conditions": [condition(), condition() | {"n": True}]},
            r"conditions\[1\].n: got True, expected a whole number",
        ),
        ({"conditions": [condition(kind="other")]}, r"kind: got 'other', expected one of 'clean', 'simulated', 'own'"),
        ({"conditions": [condition(stopped=101)]}, r"\[0\].stopped: got 101, expected at most n = 100"),
        ({"conditions": [condition(rejected=-1)]}, r"\[0\].rejected: got -1, expected at least 0"),
        ({"conditions": [condition(stopped_interval=[0.2, 0.1])]}, r"stopped_interval: got \[0.2, 0.1\]"),
        ({"conditions": [condition(rejected_interval=[0.2])]}, r"rejected_interval: got \[0.2\]"),
        ({"conditions": [condition(auroc=float("inf"))]}, r"auroc: got inf"),
        (
            {"conditions": [condition(matchings={"efdm\x1b": {"stopped": 1}})]},
            r"matchings.efdm\\x1b: got \['stopped'\]",
        ),
        (
            {"conditions": [condition(defects=[{"name": "a", "n": 1, "stopped": 2, "rejected": 0}])]},
            r"conditions\[0\].defects\[0\].stopped: got 2",
        ),
        (
            {"conditions": [condition(histogram={"edges": [0, 1], "good": [1, 2], "bad": [1]})]},
            r"histogram: got \[2, 3, 2\], expected one edge more than bins",
        ),
        (
            {"conditions": [condition(histogram={"edges": [0, 0], "good": [1], "bad": [1]})]},
            r"histogram.edges: got \[0, 0\], expected ascending edges",
        ),
    ],
)
def test_what_is_wrong_with_a_report_is_said(fields, message):
    with pytest.raises(ValueError, match=message):
        report_page(small_report(**fields))
    with pytest.raises(ValueError, match="expected a field 'histogram'"):
        report_page(small_report(conditions=[{k: v for k, v in condition().items() if k != "histogram"}]))


def test_a_report_of_75_conditions_is_small():
    report = full_report(size=256, shown=24)
    assert len(report["conditions"]) == 75
    page = report_page(report)
    images = sum(len(found) for found in re.findall(r"data:image/[^\"]*", page))
    assert len(page) < 10e6
    assert len(page) - images < 0.7e6


def test_the_file_holds_the_page_and_the_report_is_left_alone(tmp_path):
    report = small_report(title="näïve \udcff")
    before = copy.deepcopy(report)
    write_page(tmp_path / "report.html", report)
    assert (tmp_path / "report.html").read_bytes() == report_page(report).encode()
    assert report == before
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
