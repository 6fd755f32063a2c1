import pytest

from edge.whole_file import write_whole


@pytest.mark.parametrize(("content", "written"), [("", b""), ("5 °C\n", "5 °C\n".encode()), (b"\x89PNG", b"\x89PNG")])
def test_a_file_holds_what_it_was_given_and_nothing_lies_beside_it(tmp_path, content, written):
    file = tmp_path / "summary.json"
    file.write_text("an earlier and longer one")
    write_whole(file, content)
    assert file.read_bytes() == written
    assert list(tmp_path.iterdir()) == [file]


def test_what_cannot_be_put_in_its_place_leaves_nothing_behind(tmp_path):
    (tmp_path / "chart.png").mkdir()
    with pytest.raises(OSError, match=r"chart\.png"):
        write_whole(tmp_path / "chart.png", b"a picture")
    assert list(tmp_path.iterdir()) == [tmp_path / "chart.png"]
    assert list((tmp_path / "chart.png").iterdir()) == []


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "none" / "summary.json", "{}")
