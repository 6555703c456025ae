"""A model of the hub: what is needed is fetched, once, at one commit, checked, and asked for by the right one."""

import json
import sys

import huggingface_hub
import pytest

from malmoi.cli.main import main
from malmoi.core.errors import UserError
from malmoi.formats.checkpoint import load_checkpoint, save_checkpoint
from malmoi.sources.origin import find_origin

WEIGHTS = bytes(range(256)) * 40
BESIDE = {
    "config.json": b"{}",
    "tokenizer.json": '{"말": "모이"}'.encode(),
    "spiece.model": b"\0\1",
    "README.md": "---\nlicense: mit\n---\n# 말모이".encode(),
}
UNWANTED = {
    "modeling_x.py": b"import os",
    "flax_model.msgpack": b"x",
    "tf_model.h5": b"x",
    "rust_model.ot": b"x",
    "onnx/model.onnx": b"x",
    "onnx/config.json": b"x",
    ".gitattributes": b"x",
}
WHOLE = {**BESIDE, "model.safetensors": WEIGHTS}


def fetch(words="hf:org/name"):
    return find_origin(words).fetch()


def files_in(directory):
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def refusal(words="hf:org/name"):
    with pytest.raises(UserError) as caught:
        fetch(words)
    return str(caught.value)


def test_what_a_model_needs_is_fetched_and_nothing_else(hub, tmp_path):
    commit = hub.add("org/name", WHOLE | UNWANTED | {"pytorch_model.bin": b"x"})
    directory = fetch()
    assert directory == tmp_path / "cache" / "hub" / "org" / "name" / commit
    assert files_in(directory) == WHOLE


def test_huggingface_hub_gets_the_same_files_from_this_server(hub, tmp_path):
    hub.add("org/name", WHOLE)
    theirs = huggingface_hub.snapshot_download(
        "org/name", endpoint=hub.url, cache_dir=tmp_path / "theirs", local_dir=tmp_path / "local", token=False
    )
    found = {name: content for name, content in files_in(tmp_path / "local").items() if not name.startswith(".cache")}
    assert theirs
    assert found == files_in(fetch())
    info = huggingface_hub.HfApi(endpoint=hub.url, token=False).model_info("org/name", files_metadata=True)
    assert {sibling.rfilename: sibling.size for sibling in info.siblings} == {
        name: len(content) for name, content in WHOLE.items()
    }
    with pytest.raises(huggingface_hub.errors.RevisionNotFoundError):
        huggingface_hub.HfApi(endpoint=hub.url, token=False).model_info("org/name", revision="absent")


def test_nothing_is_fetched_twice(hub):
    hub.add("org/name", WHOLE)
    fetch()
    hub.requests.clear()
    fetch()
    assert hub.asked() == ["/api/models/org/name/revision/main?blobs=true"]
    assert hub.asked("store") == []


def test_a_file_that_was_changed_in_the_cache_is_fetched_anew(hub):
    hub.add("org/name", WHOLE)
    (fetch() / "model.safetensors").write_bytes(WEIGHTS[:-1] + b"?")
    assert files_in(fetch()) == WHOLE


@pytest.mark.parametrize("single", ["model.safetensors", "pytorch_model.bin"])
def test_shards_are_those_of_the_index(hub, single):
    stem, _, suffix = single.partition(".")
    shards = {f"{stem}-{number}-of-2.{suffix}": WEIGHTS + bytes([number]) for number in (1, 2)}
    index = {"weight_map": dict(zip("ab", shards, strict=True))}
    wanted = BESIDE | shards | {f"{single}.index.json": json.dumps(index).encode()}
    hub.add("org/name", wanted | {f"{stem}-3-of-3.{suffix}": b"of another"})
    assert files_in(fetch()) == wanted


def test_an_index_that_names_what_the_repository_lacks(hub):
    hub.add("org/name", BESIDE | {"model.safetensors.index.json": b'{"weight_map": {"a": "absent.safetensors"}}'})
    assert "hf:org/name lacks absent.safetensors, which its model.safetensors.index.json names" in refusal()


def test_pytorch_weights_where_there_are_no_others(hub):
    hub.add("org/name", BESIDE | UNWANTED | {"pytorch_model.bin": WEIGHTS})
    assert files_in(fetch()) == BESIDE | {"pytorch_model.bin": WEIGHTS}


def test_one_gguf_file_of_a_repository(hub):
    hub.add("org/name", {"README.md": b"x", "sub/한글 Q4.gguf": WEIGHTS, "b.gguf": b"x"})
    path = fetch("hf:org/name/sub/한글 Q4.gguf")
    assert path.read_bytes() == WEIGHTS
    assert "b.gguf" not in hub.asked("store")


@pytest.mark.parametrize(
    ("words", "files", "expected"),
    [
        ("hf:org/name", {"b.gguf": b"x", "a.gguf": b"x"}, "Name one of them: hf:org/name/a.gguf"),
        ("hf:org/name/B.gguf", {"b.gguf": b"x"}, "no file 'B.gguf'. Did you mean 'b.gguf'?"),
        ("hf:org/name/config.json", BESIDE, "config.json is no GGUF file"),
        ("hf:org/name", BESIDE | UNWANTED, "no pytorch_model.bin; it has flax_model.msgpack, onnx/model.onnx"),
        ("hf:org/name", {"model.safetensors": b"x"}, "has weights but no config.json"),
        ("hf:org/name@v9", WHOLE, "hf:org/name has no revision 'v9'. Name a branch, a tag or a commit"),
        ("hf:org/other", WHOLE, "hf:org/other is not on http://127.0.0.1"),
        ("hf:name", {}, "is no address on the hub"),
        ("hf:org/name/../x.gguf", {}, "is no address on the hub"),
        ("hf:../../etc", {}, "is no address on the hub"),
        ("hf:org/name/x.gguf@v1", {}, "is no address on the hub"),
    ],
)
def test_what_is_not_there_is_named_with_the_way_out(hub, words, files, expected):
    hub.add("org/name", files)
    assert expected in refusal(words)


@pytest.mark.parametrize("revision", ["v1", "refs/pr/3"])
def test_a_revision(hub, revision):
    old = hub.add("org/name", WHOLE | {"config.json": b"old"}, revision)
    hub.add("org/name", WHOLE)
    assert (fetch(f"hf:org/name@{revision}") / "config.json").read_bytes() == b"old"
    assert fetch(f"hf:org/name@{old}").name == old


def test_a_push_in_between_mixes_nothing(hub):
    hub.add("org/name", WHOLE)
    origin = find_origin("hf:org/name")
    hub.add("org/name", WHOLE | {"config.json": b"newer"})
    assert files_in(origin.fetch()) == WHOLE
    assert find_origin("hf:org/name").revision != origin.revision


def test_a_cut_connection_is_gone_on_with(hub):
    hub.add("org/name", WHOLE)
    hub.cut = 4000
    assert files_in(fetch()) == WHOLE
    ranges = [headers.get("Range") for server, _, headers in hub.requests if server == "store"]
    assert ranges == [None, "bytes=4000-", "bytes=8000-"]


def test_a_download_of_an_earlier_run_is_gone_on_with(hub, tmp_path):
    commit = hub.add("org/name", WHOLE)
    part = tmp_path / "cache" / "hub" / "org" / "name" / commit / "model.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(WEIGHTS[:300])
    assert files_in(fetch()) == WHOLE
    assert [headers.get("Range") for server, _, headers in hub.requests if server == "store"] == ["bytes=300-"]


@pytest.mark.parametrize("blobs", [True, False])
@pytest.mark.parametrize("name", ["model.safetensors", "README.md"])
def test_other_bytes_than_promised_are_refused_and_not_kept(hub, tmp_path, name, blobs):
    hub.add("org/name", {"config.json": b"{}", "model.safetensors": WEIGHTS} | {name: WEIGHTS + b"a"})
    hub.corrupt, hub.blobs = True, blobs
    assert f"What came is not the file {name} of the hub" in refusal()
    assert not list(tmp_path.rglob(f"{name}*"))


def test_a_hub_whose_listings_state_no_sums(hub):
    hub.add("org/name", WHOLE)
    hub.blobs = False
    assert files_in(fetch()) == WHOLE


def test_a_gated_repository_says_where_to_accept_its_terms(hub, monkeypatch):
    hub.add("org/name", WHOLE, gated=True)
    assert f"Accept them at {hub.url}/org/name and set HF_TOKEN" in refusal()
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    message = refusal()
    assert f"Accept them at {hub.url}/org/name with the account of your token" in message
    assert "hf_other" not in message


@pytest.mark.parametrize("way", ["HF_TOKEN", "HF_TOKEN_PATH", "HF_HOME"])
def test_a_token_goes_to_the_hub_and_nowhere_else(hub, monkeypatch, tmp_path, way):
    hub.add("org/name", WHOLE, gated=True)
    (tmp_path / "token").write_text(f"{hub.token}\n")
    monkeypatch.setenv(way, {"HF_TOKEN": hub.token, "HF_HOME": str(tmp_path)}.get(way, str(tmp_path / "token")))
    assert files_in(fetch()) == WHOLE
    tokens = {(server, headers.get("Authorization")) for server, _, headers in hub.requests}
    assert tokens == {("hub", f"Bearer {hub.token}"), ("store", None)}


def test_a_token_is_not_sent_where_it_must_not_be(hub, monkeypatch):
    hub.add("org/name", WHOLE)
    monkeypatch.setenv("HF_TOKEN", hub.token)
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")
    fetch()
    assert not any("Authorization" in headers for _, _, headers in hub.requests)


@pytest.mark.parametrize("token", ["비밀", "hf_a b", "hf_a\r\nX-Evil: 1"])
def test_a_token_that_is_none_is_not_printed(hub, monkeypatch, token):
    monkeypatch.setenv("HF_TOKEN", token)
    message = refusal()
    assert "holds a character that no token has" in message
    assert token not in message


def test_who_asks_without_a_token_is_not_told_of_one(hub, monkeypatch):
    hub.broken = 403
    assert "may not be read without a token" in refusal()
    monkeypatch.setenv("HF_TOKEN", hub.token)
    assert "may not be read with your token" in refusal()


def test_offline_the_newest_whole_commit_is_taken(hub, monkeypatch):
    hub.add("org/name", WHOLE)
    old = fetch()
    hub.add("org/name", WHOLE | {"config.json": b"newer"})
    find_origin("hf:org/name")  # asked for, and never fetched
    hub.requests.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fetch() == old
    assert fetch(f"hf:org/name@{old.name}") == old
    assert "hf:org/name@v1 is not whole in" in refusal("hf:org/name@v1")
    (old / "model.safetensors").unlink()
    assert "HF_HUB_OFFLINE is set, and hf:org/name is not whole in" in refusal()
    assert hub.requests == []


def test_offline_a_branch_means_what_it_meant_last_whatever_else_was_asked_for_since(hub, monkeypatch):
    first = hub.add("org/name", WHOLE, revision="v1")
    hub.add("org/name", WHOLE)
    old = fetch()
    hub.add("org/name", WHOLE | {"config.json": b"newer"})
    new = fetch()
    assert fetch("hf:org/name@v1") == fetch(f"hf:org/name@{first}") == old
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert fetch() == new
    assert fetch("hf:org/name@v1") == old


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "a\\..\\x", "a//x", "", "a\nb"])
def test_a_listing_that_leads_out_of_its_folder(hub, tmp_path, name):
    hub.add("org/name", WHOLE | {name: b"x"})
    assert "leads out of its folder" in refusal()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    "changed",
    [
        {"sha": "../../../x"},
        {"sha": None},
        {"siblings": None},
        {"siblings": [7]},
        {"siblings": [{"size": 3}]},
        {"siblings": [{"rfilename": "config.json", "size": -1}]},
        {"siblings": [{"rfilename": "config.json", "size": "7"}]},
        {"siblings": [{"rfilename": "config.json", "lfs": [1]}]},
    ],
)
def test_a_listing_that_is_none(hub, changed):
    hub.add("org/name", WHOLE)
    hub.changed = changed
    assert "HF_ENDPOINT" in refusal()


def test_a_model_larger_than_the_disk_is_not_begun(hub):
    hub.add("org/name", WHOLE)
    siblings = [{"rfilename": "config.json", "size": 2}, {"rfilename": "model.safetensors", "size": 10**18}]
    hub.changed = {"siblings": siblings}
    assert "the download needs 1,000,000,000.0 GB. Free some space, or set MALMOI_CACHE" in refusal()
    assert hub.asked("store") == []


def test_a_file_that_goes_on_after_its_end_is_cut_off(hub, tmp_path):
    hub.add("org/name", WHOLE)
    siblings = [
        {"rfilename": "config.json"},
        {"rfilename": "model.safetensors", "size": 10, "lfs": {"sha256": "0" * 64}},
    ]
    hub.changed = {"siblings": siblings}
    assert "sends more than the 10 bytes" in refusal()
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize(
    ("status", "words"),
    [(500, "out of order (500)"), (429, "asked for too often"), (302, "redirects in a circle"), (418, "answers 418")],
)
def test_a_hub_that_is_out_of_order(hub, status, words):
    hub.broken = status
    assert words in refusal()


def test_a_hub_out_of_reach(hub, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    assert "http://127.0.0.1:9/api/models/org/name/revision/main?blobs=true is out of reach" in refusal()


def test_the_command_makes_a_checkpoint_that_says_where_it_came_from(
    hub, monkeypatch, tmp_path, capsys, model, tokenizer
):
    save_checkpoint(tmp_path / "made", model, tokenizer, "")
    readme = "---\nlicense: apache-2.0\nlanguage: [ko]\n---\n\n# 말모이\n\n낱말을 모은다.\n"
    commit = hub.add("org/말-name".replace("말", "mal"), files_in(tmp_path / "made") | {"README.md": readme.encode()})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["malmoi", "import", "hf:org/mal-name"])
    for words in ("malmoi chat models/mal-name", "Already there:"):
        with pytest.raises(SystemExit) as ended:
            main()
        assert not ended.value.code
        assert words in capsys.readouterr().out
    again = load_checkpoint(tmp_path / "models" / "mal-name")
    assert again.card.startswith(
        f"---\nlicense: apache-2.0\nsource: hf:org/mal-name\nrevision: {commit}\n---\n\n# mal-name"
    )
    assert "낱말을 모은다." in again.card
    assert again.tokenizer.encode("여우") == tokenizer.encode("여우")
