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
from gnl_jax.report.schema import STATES

SECTIONS = ("verdict", "heatmap", "conditions-list", "table", "drift")
NO_NUMBERS = {"false_alarms": {"now": [1, 2], "worst": [1, 2], "where": ""}, "defects": None, "within": [1]}
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


def test_the_verdict_comes_first_and_no_sentence_twice():
    report = small_report()
    text = words(report_page(report))
    verdict = report["verdict"]
    places = [text.index(part) for part in (verdict["found"], verdict["action"], verdict["command"])]
    assert places == sorted(places)
    assert max(places) < text.index("False alarms 2 %") < text.index("Every condition")
    for sentence in (*verdict.values(), *(c["sentence"] for c in report["conditions"])):
        if sentence != verdict["state"]:
            assert text.count(sentence) == 1, sentence


@pytest.mark.parametrize("state", STATES)
def test_every_state_has_a_heading_a_colour_and_a_shape(state):
    report = small_report()
    report["verdict"]["state"] = state
    page = report_page(report)
    (name, shape, heading) = re.search(
        r'class="verdict (\w+)">\s*<h2><span aria-hidden="true">(.) </span>(.*?)<', page
    ).groups()
    assert name in ("within", "unsure", "over", "drifted")
    assert shape in "●◆▲"
    assert heading == state.capitalize()


def test_three_large_numbers():
    text = words(report_page(small_report()))
    assert "False alarms 2 % 2 of 100 now (target 5 %) 46 of 100 worst: lamp +27 %" in text
    assert "Defects caught 92.5 % 74 of 80 now 61 of 80 worst: lamp +27 %" in text
    assert "Conditions 2 of 4 within limits" in text
    report = small_report()
    report["numbers"]["defects"] = None
    assert "Defects caught – none shown" in words(report_page(report))


def test_the_heat_map_pairs_false_alarms_and_defects():
    report = small_report()
    page = report_page(report)
    table = page[page.index('<table class="heat">') : page.index('<section id="conditions-list"')]
    rows = re.findall(r"<tr><th scope=\"row\".*?</tr>", table, flags=re.DOTALL)
    assert [words(row).split()[0] for row in rows] == ["clean", "gain_up", "line"]
    labels = re.findall(r'aria-label="(.*?)"', rows[1])
    stopped = [report["conditions"][i]["stopped"] for i in (2, 1)]
    caught = [100 * report["conditions"][i]["caught"] / 80 for i in (2, 1)]
    expected = [f"false alarms {k} %" for k in stopped] + [f"defects caught {share:.0f} %" for share in caught]
    assert len(labels) == 4
    for label, part in zip(labels, expected):
        assert part in label
    assert re.findall(r'href="#c(\d)"', rows[1]) == ["2", "1", "2", "1"]


def test_uncertain_cells_are_hatched_and_bad_ones_marked():
    def cell(**fields):
        page = report_page(small_report(conditions=[condition(**fields)]))
        return re.search(r'<a class="cell.*?</a>', page, flags=re.DOTALL)[0]

    assert "hatched" in cell(alarms="not enough evidence")
    assert "▲" not in cell(alarms="not enough evidence")
    assert "hatched" not in cell(alarms="within limits")
    for bad in ("too many false alarms", "drifted: recalibrate"):
        assert "▲" in cell(alarms=bad)
    # The shade goes by the acceptable rate of 10 %: 2 of 100 are the lightest, 60 of 100 the darkest.
    assert 'class="cell s0' in cell(stopped=2, by_score=2, rejected=0)
    assert 'class="cell s4' in cell(stopped=60, by_score=50, by_drift=10, rejected=0)


def test_the_table_has_a_row_for_each_condition_and_auroc_last():
    report = small_report()
    page = report_page(report)
    table = page[page.index('<table id="conditions">') : page.index('<section id="drift"')]
    headings = re.findall(r"<button[^>]*>(.*?)</button>", table)
    assert headings[:6] == ["Condition", "Family", "Severity", "Kind", "Training", "Verdict"]
    assert headings[6:11] == ["Good parts flagged", "By drift alone", "Rejected", "Defects caught", "Lost"]
    assert headings[11:] == ["Matching on", "Matching off", "Baseline", "Drift", "AUROC"]
    rows = re.findall(r"<tr data-kind.*?</tr>", table, flags=re.DOTALL)
    assert [len(re.findall("data-value", row)) for row in rows] == [len(headings)] * 4
    clean, gain = words(rows[0]), words(rows[1])
    c = report["conditions"][1]
    assert f"{c['stopped']} of 100 at most {100 * c['alarms_bound']:.3g} %" in gain
    assert f"{c['caught']} of 80" in gain
    assert c["caught"] == sum(defect["stopped"] for defect in c["defects"])
    assert c["state"] in gain
    assert "within limits" in clean
    assert gain.rstrip().endswith(f"{c['auroc']:.3f}")


def test_conditions_stand_by_family_in_order_of_severity_with_their_pictures():
    page = report_page(small_report())
    panels = page[page.index('<section id="conditions-list"') : page.index('<section id="table"')]
    alts = re.findall('alt="(.*?)"', panels)
    assert [alt for alt in alts if "outlined" not in alt] == ["clean", "gain_up 2", "gain_up 10", "line 7, new lamp"]
    assert panels.count(PIXEL) == 6
    assert words(panels).count("False alarms good/000.png") == words(panels).count("Missed defects crack/000.png") == 1


def test_histograms_mark_both_thresholds_and_only_clean_is_open():
    report = small_report()
    page = report_page(report)
    assert re.findall("<details id=.*?>", page)[:2] == ['<details id="c0" open>', '<details id="c2">']
    histograms = re.findall(r"<svg class=\"histogram\".*?</svg>", page, flags=re.DOTALL)
    assert [h.count("threshold review") for h in histograms] == [1] * 4
    assert [h.count("threshold ng") for h in histograms] == [1] * 4
    assert "flag 1<" in histograms[0]
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
    for expected in ("crack", "stain", "Matching on", "Matching off", "drifted", "Not seen", "Unknown"):
        assert expected in text, expected
    assert "Seen in training (1) jpeg – as JPEG" in text
    assert re.search(r"versions\s+jax\s+0.10.2", text)
    assert re.search(r"folders\s+good, bad", text)
    assert "calibration images" in text
    assert "good parts rejected 1 % on average" in text
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
    none = {"bad": 0, "caught": 0, "defects": [], "lost": None, "gained": None}
    c = condition(drift=None, matchings={}, baseline=None, auroc=None, **none)
    rules = {"ng": None, "review": None, "drift": None}
    page = report_page(small_report(conditions=[c], rules=rules, provenance={}))
    assert "Drift was not measured" in words(page)
    assert page.count('class="cell none"') == 1
    assert "False alarms" not in words(page[page.index("<details") : page.index("</details")])
    report_page(small_report(conditions=[]))


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_becomes_markup(text):
    """A report full of it has the elements and attributes of a harmless one."""

    def filled(word: str) -> str:
        report = small_report(title=word, provenance={word: [word, {word: word}]})
        report["verdict"] |= dict.fromkeys(("found", "action", "command"), word)
        report["numbers"]["defects"]["where"] = report["numbers"]["false_alarms"]["where"] = word
        report["artifact"] |= dict.fromkeys(("file", "sha256", "method", "matching", "teacher", word), word)
        report["rules"] = {key: {"rate": 0.1, "text": word} for key in ("ng", "review", "drift")}
        counts = {"stopped": 1, "rejected": 0}
        names = dict.fromkeys(("name", "what", "label", "family", "seen_note", "sentence"), word)
        shown = [picture(word, decision=word, image=f"{PIXEL}{word}")]
        fields = names | {"matchings": {word: counts}, "defects": [{"name": word, "n": 2, **counts}]}
        fields |= {"false_alarms": shown, "missed": shown}
        report["conditions"] = [condition() | fields, condition(kind="own") | fields | {"family": None}]
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
    for name, shown in zip(names, (r"a\x1b[31m", r"\udcff", r"\u202ex", "näïve 箱 \U0001f600")):
        report = small_report()
        report["verdict"]["found"] = name
        assert f"<p>{shown}</p>" in report_page(report)


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
        small_report(conditions=[condition(false_alarms=[picture("x", image=uri)])]),
        small_report(conditions=[condition(missed=[picture("x", image=uri)])]),
    ]
    for report, field in zip(broken, ("thumbnail", r"false_alarms\[0\].image", r"missed\[0\].image")):
        with pytest.raises(ValueError, match=rf"{field}: got .*, expected data:image/"):
            report_page(report)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"schema": 1}, r"report.schema: got 1, expected one of 2"),
        ({"title": None}, r"report.title: got None, expected str"),
        ({"conditions": "text"}, r"report.conditions: got 'text', expected a list"),
        ({"verdict": {"state": "fine"}}, r"report.verdict.state: got 'fine', expected one of 'within limits'"),
        ({"rules": {"ng": None, "review": None}}, r"report.rules: got .*, expected a field 'drift'"),
        ({"thresholds": {"ng": None, "review": float("nan")}}, r"report.thresholds.review: got nan, expected a finite"),
        (
            {"conditions": [condition(), condition() | {"n": True}]},
            r"conditions\[1\].n: got True, expected a whole number",
        ),
        ({"conditions": [condition(kind="other")]}, r"kind: got 'other', expected one of 'clean', 'simulated', 'own'"),
        ({"conditions": [condition(stopped=101)]}, r"\[0\].stopped: got 101, expected at most n"),
        ({"conditions": [condition(by_drift=1)]}, r"\[0\].stopped: got \d, expected by score and drift: \d"),
        ({"conditions": [condition(caught=81)]}, r"\[0\].caught: got 81, expected at most bad"),
        ({"conditions": [condition(rejected=-1)]}, r"\[0\].rejected: got -1, expected at least 0"),
        ({"conditions": [condition(alarms_bound=1.5)]}, r"alarms_bound: got 1.5"),
        (
            {
                "numbers": {
                    "false_alarms": {"now": [1], "worst": [1, 2], "where": ""},
                    "defects": None,
                    "within": [1, 1],
                }
            },
            r"numbers.false_alarms.now: got \[1\]",
        ),
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
    report = full_report(size=256, shown=3)
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
