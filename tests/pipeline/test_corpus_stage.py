"""A folder of anybody's text becomes a corpus."""

import pytest

from malmoi.core.errors import UserError
from malmoi.corpus.store import read_documents
from malmoi.pipeline.stages.corpus import CorpusSettings, run


def test_a_folder_is_read_with_its_subfolders_and_what_cannot_be_read_is_listed(tmp_path):
    folder, out = tmp_path / "texts", tmp_path / "out"
    (folder / "깊은").mkdir(parents=True)
    out.mkdir()
    (folder / "깊은" / "한글.txt").write_bytes("윈도에서 저장한 오래된 한글 문서입니다.".encode("cp949"))
    (folder / "photo.jpg").write_bytes(b"\xff\xd8\x00")
    result = run(CorpusSettings(folder=folder, held_out=0), out)
    assert [document.text for document in read_documents(out, "train")] == ["윈도에서 저장한 오래된 한글 문서입니다."]
    assert result["unreadable"] == {str(folder / "photo.jpg"): "unknown kind of file"}


def test_a_table_without_text_and_hidden_files_do_not_stop_a_folder(tmp_path):
    folder, out = tmp_path / "texts", tmp_path / "out"
    (folder / ".git").mkdir(parents=True)
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main, 숨은 파일")
    (folder / "a.txt").write_text("이것은 스무 글자가 넘는 한국어 문장입니다.")
    (folder / "prices.csv").write_text("id,price\n1,2\n")
    result = run(CorpusSettings(folder=folder), out)
    assert result["read"] == result["kept"] == 1
    assert "no column that looks like text" in result["unreadable"][str(folder / "prices.csv")]


def test_a_single_short_text_is_split_at_its_tail(tmp_path):
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("말모이는 우리말을 모은 것이다. " * 20)
    result = run(CorpusSettings(folder=tmp_path / "texts", held_out=0.1), tmp_path / "out")
    assert 0 < result["held_out_bytes"] < 0.2 * result["bytes"]
    assert list(read_documents(tmp_path / "out", "train"))


@pytest.mark.parametrize(("name", "message"), [(None, "no file of text"), ("a.txt", "Nothing is left of 0 documents")])
def test_a_folder_without_text_says_so(tmp_path, name, message):
    (tmp_path / "texts").mkdir()
    if name:
        (tmp_path / "texts" / name).write_text("")
    with pytest.raises(UserError, match=message):
        run(CorpusSettings(folder=tmp_path / "texts"), tmp_path)
