import itertools
import re
from html.parser import HTMLParser

import pytest

from malmoi.core.errors import UserError
from malmoi.core.files import append_json_line, read_json, write_json
from malmoi.pipeline.report.render import render
from malmoi.pipeline.report.run import read_stages
from malmoi.pipeline.report.words import WORDS, Words
from malmoi.pipeline.stages.report import ReportSettings, run


class Page(HTMLParser):
    """Text, tags and references of a page; fails on tags that are not closed in order."""

    VOID = ("meta", "br", "path", "img")

    def __init__(self, page):
        super().__init__()
        self.open, self.tags, self.references, self.text = [], [], [], ""
        self.feed(page)
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.references += [value for name, value in attributes if name in ("src", "href", "action", "xlink:href")]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def page_of(directories, language="en"):
    return render(read_stages(directories), "quickstart", language)


def test_the_page_shows_what_every_stage_made(stages):
    text = Page(page_of(stages)).text
    for expected in (
        "28 % below a bigram model",
        "84.6 %",
        "CC-BY-SA-3.0",
        "412",
        "9,134,592",
        "Bits per byte while it learns",
        "a poor woodcutter",
        "옛날 옛적에",
        "조금 할 줄 알아요.",
        "AMD EPYC 7763",
    ):
        assert expected in text


def test_the_page_loads_nothing(stages):
    page = page_of(stages)
    assert all(reference.startswith("#") for reference in Page(page).references)
    assert not re.search(r"https?://|url\(|@import", page)
    assert "default-src 'none'" in page


@pytest.mark.parametrize("language", ["en", "ko"])
def test_text_of_the_run_is_never_markup(stages, language, hostile):
    page = page_of(stages, language)
    assert hostile not in page
    assert page.count("<script>") == 1
    assert "<b>love</b>" not in page
    assert hostile in Page(page).text


def test_hostile_names_are_escaped_in_attributes_too(make_stage, hostile):
    directory = make_stage("pretrain", {hostile: 1}, "x", settings={"title": hostile})
    append_json_line(directory / "metrics.jsonl", {"step": 1, "loss": 2.0})
    page = render(read_stages([directory]), hostile + "\"'", "en")
    assert "<script>alert" not in page
    Page(page)


def test_control_characters_of_an_untrained_model_are_marked(make_stage):
    pretrain = make_stage("pretrain", {"validation_loss": 8.3})
    append_json_line(pretrain / "samples.jsonl", {"step": 0, "prompt": "Once", "text": "Oncea\0b\x0bc\td\ne"})
    page = page_of([pretrain])
    assert "a\ufffdb\ufffdc\td\ne" in page
    assert "\0" not in page


def test_the_dial_compares_sizes_with_the_one_it_chose(stages):
    cells = re.findall("<td[^>]*>([^<]* ×)</td>", page_of(stages))
    assert cells == ["1.03 ×", "1.00 ×"]


def test_korean_words(stages):
    text = Page(page_of(stages, "ko")).text
    assert "바이그램 모델보다 28 % 낮음" in text
    assert "How well it" not in text
    assert "12분 13초" in text


@pytest.mark.parametrize("left_out", range(7))
def test_a_missing_stage_leaves_its_section_out(stages, left_out):
    Page(page_of(stages[:left_out] + stages[left_out + 1 :]))


def test_every_stage_alone_makes_a_page(stages):
    for stage in stages:
        Page(page_of([stage]))
    Page(page_of([]))


def test_two_stages_of_a_kind_have_their_names_as_headings(stages, make_stage):
    other = make_stage("classify", read_json(stages[5] / "stage.json")["result"], "spam")
    text = Page(page_of([*stages, other])).text
    assert "accuracy of spam" in text
    assert "accuracy of sentiment" in text


@pytest.mark.parametrize(("language", "title"), [("en", "With examples alone"), ("ko", "예시만으로")])
def test_few_shot_tasks_have_a_table_charts_with_intervals_and_answers(make_stage, hostile, language, title):
    share = {"value": 0.5, "low": 0.4, "high": 0.6}
    task = {"kind": "answer", "figure": "exact", "items": 4, "labels": {}, "control": 0.1, "prompt": hostile}
    task["scores"] = {shots: {"exact": share, "chrf": share, "cut": 1, "seconds": 2} for shots in ("0", "16")}
    choice = task | {
        "kind": "choice",
        "figure": "accuracy",
        "scores": {shots: {"accuracy": share, "cut": 0} for shots in ("0", "16")},
    }
    directory = make_stage("few-shot", {"model": "말모이", "tasks": {"번역": task, "감성": choice}})
    for shots in (0, 16):
        item = {"task": "번역", "shots": shots, "input": "여우", "wanted": "fox", "answer": f"answer {shots}{hostile}"}
        append_json_line(directory / "items.jsonl", item)
    page = page_of([directory], language)
    text = Page(page).text
    for expected in (title, "50.0 % (40–60)", "번역 (%)", "여우", "answer 16", hostile):
        assert expected in text
    assert page.count('<path class="curve whiskers') == 2
    assert hostile not in page


@pytest.mark.parametrize(("language", "title"), [("en", "Models beside each other"), ("ko", "나란히 본 모델들")])
def test_models_beside_each_other_have_a_table_and_a_chart(make_stage, hostile, language, title):
    one = {"mixing": ["window(8)", "full"], "loss": 2.0, "spans": [[0, 64, 2.5], [64, 128, 1.5]]}
    one |= {"seconds": 0.5, "kept_bytes": 2**21}
    models = {"dense": one, hostile: one | {"loss": 2.1, "seconds": 0.2}}
    page = page_of([make_stage("compare", {"context": 128, "rows": 3, "models": models})], language)
    text = Page(page).text
    for expected in (title, "window(8), full", "105.0 %", "40.0 %", "65–128", hostile):
        assert expected in text
    assert hostile not in page


@pytest.mark.parametrize(("language", "title"), [("en", "writes at 8,192"), ("ko", "8,192에서 쓰기")])
def test_what_writing_costs_stands_beside_how_good_a_model_is(make_stage, hostile, language, title):
    costs = {"512": {"tokens_per_second": 812.4, "bytes": 4096}, "8192": {"tokens_per_second": 93, "bytes": 2**25}}
    one = {"mixing": ["lstm"], "loss": 2.0, "spans": [[0, 64, 2.5]], "seconds": 0.5, "kept_bytes": 2**21}
    one |= {"parameters": 1_171_200, "bits_per_byte": 2.345, "generation": costs, "learning": [[30, 4.0], [60, 3.0]]}
    models = {"lstm": one | {"training_seconds": 120, "tokens": 9_999}, hostile: one | {"learning": []}}
    result = {"context": 128, "rows": 3, "step_tokens": 2_048, "generation": [512, 8192], "models": models}
    page = page_of([make_stage("compare", result)], language)
    text = Page(page).text
    for expected in (title, "1,171,200", "2.345", "4,096", "812", "32.0 MiB", "9,999", hostile):
        assert expected in text
    assert hostile not in page


def test_files_that_a_stage_did_not_write_are_not_missed(make_stage):
    kinds = (
        "fetch",
        "corpus",
        "tokenizer",
        "pretrain",
        "evaluate",
        "classify",
        "instruct",
        "few-shot",
        "compare",
        "something-new",
    )
    Page(page_of([make_stage(kind, {}) for kind in kinds]))


def test_steps_done_again_after_a_kill_are_drawn_once(make_stage):
    directory = make_stage("pretrain", {})
    for step, loss in ((1, 4.0), (2, 9.0), (2, 3.0), (3, 2.0)):
        append_json_line(directory / "metrics.jsonl", {"step": step, "loss": loss})
    assert read_stages([directory])[0].curve("loss") == [(1, 4.0), (2, 3.0), (3, 2.0)]


def test_a_stage_that_is_not_done_is_left_out(stages, tmp_path):
    running = tmp_path / "pretrain"
    running.mkdir()
    write_json(running / "stage.json", {"kind": "pretrain", "status": "running"})
    assert [stage.kind for stage in read_stages([running, stages[0]])] == ["fetch"]


def test_the_stage_writes_one_file_and_names_a_wrong_directory(stages, tmp_path):
    out = tmp_path / "quickstart" / "report"
    out.mkdir(parents=True)
    result = run(ReportSettings(stages=stages), out)
    assert [file.name for file in out.iterdir()] == ["report.html"]
    assert result["bytes"] == (out / "report.html").stat().st_size < 300_000
    assert "<h1>quickstart</h1>" in (out / "report.html").read_text(encoding="utf-8")
    with pytest.raises(UserError, match=r"no stage's directory"):
        run(ReportSettings(stages=[tmp_path]), out)


def test_every_word_is_there_in_both_languages_with_the_same_values():
    for english, korean in WORDS.values():
        assert english
        assert korean
        assert sorted(re.findall(r"{\w+}", english)) == sorted(re.findall(r"{\w+}", korean))


def test_durations():
    seconds = (0, 4.16, 59.7, 61, 3600, 7530)
    expected = ("0 s", "4.2 s", "1 min", "1 min 1 s", "1 h", "2 h 5 min")
    for amount, text in itertools.zip_longest(seconds, expected):
        assert Words("en").duration(amount) == text
    assert Words("ko").duration(7530) == "2시간 5분"


def test_each_rule_is_shown_with_its_share_and_an_example(stages):
    page = page_of(stages)
    assert "90,000" in page
    assert "글.txt#7: 3 (&gt;= 16)" in page
    assert "512,345" in page
    assert "3.40" in page


def test_a_corpus_shows_its_licences_its_rules_by_name_and_what_can_be_done_with_it(make_stage):
    found = {"read": 3, "kept": 2, "bytes": 90, "held_out_bytes": 9}
    counts = found | {
        "dropped": {"duplicate_lines": 1},
        "dropped_bytes": {"duplicate_lines": 7},
        "sources": {"책": found},
    }
    directory = make_stage("corpus", {"licences": {"책": "yours"}})
    write_json(directory / "counts.json", counts)
    text = Page(page_of([directory], "ko")).text
    assert all(
        expected in text for expected in ("yours", "duplicate_lines (되풀이되는 줄)", "malmoi tokenizer corpus=")
    )
    assert "malmoi run ~/texts" not in text


def test_a_crawl_says_what_became_of_every_address(make_stage):
    found = {"seen": 120, "requests": 97, "kept": 81, "bytes": 2_500_000, "others": {"robots.txt": 30, "too large": 9}}
    directory = make_stage("crawl", found, "crawl")
    text = Page(page_of([directory], "ko")).text
    assert all(expected in text for expected in ("찾은 주소", "robots.txt가 금지함", "너무 큼", "2.4 MiB"))


def test_drawings_are_set_in_letters_of_one_width(make_stage):
    directory = make_stage("pretrain", {"parameters": 1}, "pretrain")
    drawing, prose = " @@ \n@  @\n@  @\n @@ \n", "옛날 옛적에\n곰이 살았습니다.\n여우도 살았습니다.\n끝.\n"
    for prompt, text in (("---0---\n", drawing), ("옛날", prose)):
        append_json_line(directory / "samples.jsonl", {"step": 1, "prompt": prompt, "text": text})
    assert page_of([directory]).count('class="strip grid"') == 1


@pytest.mark.parametrize(("language", "title"), [("en", "Hidden words guessed"), ("ko", "맞힌 가린 낱말")])
def test_an_encoder_has_its_accuracies_beside_counting_and_some_guesses(make_stage, hostile, language, title):
    measured = {name: {"loss": 2.0, "accuracy": 0.5} for name in ("masked", "next-sentence")}
    result = {"parameters": 100, "objectives": measured, "controls": {"unigram": 0.1, "neighbours": 0.2}}
    result["mixture"] = {"말모이": {"weight": 1.0, "share": 1.0, "epochs": 2.0}}
    directory = make_stage("pretrain-encoder", result)
    guesses = [{"text": "영화가 ▣ 재미있다", "right": hostile, "guesses": ["정말", "너무"]}]
    write_json(directory / "guesses.json", guesses)
    page = render(read_stages([directory]), "말모이", language)
    text = Page(page).text
    assert title in text
    assert "정말 · 너무" in text
    assert hostile in text
    assert hostile not in page
    assert "objective." not in text
    assert "control." not in text


@pytest.mark.parametrize(("language", "title"), [("en", "without a teacher"), ("ko", "교사 없이")])
def test_a_student_stands_between_its_teacher_and_itself_without_one(make_stage, language, title):
    figures = {"teacher": 0.9, "student": 0.87, "control": 0.8}
    sizes = {"teacher": 100, "student": 60}
    result = {"figure": "accuracy", "figures": figures, "parameters": sizes, "share_of_gap_closed": 0.7, "alpha": 0.5}
    text = Page(render(read_stages([make_stage("distil", result)]), "말모이", language)).text
    assert title in text
    assert "70" in text
    assert "distil." not in text
    assert "fact." not in text
