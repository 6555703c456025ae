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


@pytest.mark.parametrize(("name", "message"), [(None, "no file of text"), ("a.txt", "Nothing is left of 0 documents")])
def test_a_folder_without_text_says_so(tmp_path, name, message):
    (tmp_path / "texts").mkdir()
    if name:
        (tmp_path / "texts" / name).write_text("")
    with pytest.raises(UserError, match=message):
        run(CorpusSettings(folder=tmp_path / "texts"), tmp_path)
