"""One's own web site becomes a model: recipe `own-site`, in seconds."""

from malmoi.corpus.store import read_documents
from malmoi.pipeline.recipe import load_recipe
from malmoi.pipeline.runner import run_recipe

from .conftest import page

SUBJECTS = ("여우는", "곰은", "말모이는", "사전은", "낱말은")


def article(number: int) -> str:
    """A few sentences that no other page has."""
    facts = [
        f"{subject} {number}번째 쪽에서 {number * place}번을 센다." for place, subject in enumerate(SUBJECTS, start=2)
    ]
    return " ".join(facts * 2)


def test_a_site_is_crawled_cleaned_and_learned(serve, tmp_path):
    site = serve()
    site.add("/", page(*[f"/글/{number}" for number in range(20)], text=article(100)))
    for number in range(20):
        site.add(f"/글/{number}", page("/", text=article(number)))
    small = ["model.layers=1", "model.width=16", "model.heads=2", "model.key_value_heads=1", "context=32", "steps=2"]
    recipe = load_recipe(
        "own-site",
        [
            f"crawl.urls={site.url}", "crawl.contact=me@example.com", "crawl.delay=0", "crawl.allow_private=[127.0.0.1]",
            "crawl.licence=CC0-1.0", "tokenizer.vocabulary=300", *[f"pretrain.{setting}" for setting in small],
        ],
    )  # fmt: skip
    done = run_recipe(recipe, tmp_path / "run")
    documents = list(read_documents(done["corpus"], "train"))
    assert {document.licence for document in documents} == {"CC0-1.0"}
    assert any("여우는 7번째 쪽에서 14번을 센다." in document.text for document in documents)
    assert all((done[name]).joinpath("stage.json").is_file() for name in ("pretrain", "evaluate", "report"))
    asked = site.asked.total()
    run_recipe(recipe, tmp_path / "run")
    assert site.asked.total() == asked  # what is done is not done again
