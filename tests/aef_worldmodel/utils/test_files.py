"""Files that are whole or absent, whatever happens while they are written."""

import errno
import os
import stat

import pytest

from aef_worldmodel.utils.errors import UserError
from aef_worldmodel.utils.files import atomic_path, atomic_write, read_bytes, read_text


@pytest.mark.parametrize("sync", [False, True])
def test_text_and_bytes_arrive_as_they_are_in_a_new_folder(tmp_path, sync):
    text, data = tmp_path / "a" / "b" / "note.txt", tmp_path / "c" / "raw.bin"
    with atomic_write(text, sync=sync) as file:
        file.write("x\r\ny\nä")
    with atomic_write(data, "wb", sync=sync) as file:
        file.write(b"\x00\xff")
    assert text.read_bytes() == "x\r\ny\nä".encode()
    assert data.read_bytes() == b"\x00\xff"
    assert [p.name for p in text.parent.iterdir()] == ["note.txt"]


@pytest.mark.parametrize("failure", [ValueError, KeyboardInterrupt])
def test_an_exception_leaves_the_former_file_and_no_temporary_one(tmp_path, failure):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(failure), atomic_write(path) as file:
        file.write("after")
        raise failure
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


def test_until_the_end_a_reader_sees_the_former_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("before")
    with atomic_write(path) as file:
        file.write("after")
        file.flush()
        assert path.read_text() == "before"
    assert path.read_text() == "after"


def test_a_full_disk_is_one_sentence(tmp_path):
    path = tmp_path / "a.txt"
    with pytest.raises(UserError) as caught, atomic_write(path, then=", then go on"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(caught.value) == (
        f"could not write {path} (No space left on device): free some space or check the folder's "
        "permissions, then go on"
    )
    assert not list(tmp_path.iterdir())


def test_a_file_where_the_folder_should_be_is_one_sentence(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(UserError, match="could not write"), atomic_write(tmp_path / "run" / "a"):
        pass


def test_writers_of_their_own_get_a_path_with_the_same_suffix(tmp_path):
    path = tmp_path / "film.mp4"
    with atomic_path(path) as temporary:
        assert temporary.suffix == ".mp4" and temporary.parent == path.parent
        temporary.write_bytes(b"film")
    assert path.read_bytes() == b"film"


def test_a_writer_that_writes_nothing_is_an_error_that_names_the_file(tmp_path):
    with pytest.raises(UserError, match=r"film\.mp4"), atomic_path(tmp_path / "film.mp4"):
        pass


def test_permissions_follow_the_umask(tmp_path):
    former = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "a.txt") as file:
            file.write("x")
    finally:
        os.umask(former)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o640


def test_permissions_follow_the_umask_whatever_the_writer_does(tmp_path):
    with atomic_path(tmp_path / "a.bin") as temporary:
        temporary.touch(0o600)  # as safetensors does
    (tmp_path / "b.bin").touch()
    modes = [(tmp_path / name).stat().st_mode for name in ("a.bin", "b.bin")]
    assert modes[0] == modes[1]


def test_only_regular_files_of_a_limited_size_are_read(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("five!")
    assert read_text(path, 5) == "five!"
    with pytest.raises(OSError, match="5 bytes, more than the 4"):
        read_bytes(path, 4)
    os.mkfifo(tmp_path / "pipe")
    for other in ("pipe", "."):
        with pytest.raises(OSError, match="not a regular file"):
            read_bytes(tmp_path / other, 100)
    with pytest.raises(OSError, match="No such file"):
        read_bytes(tmp_path / "absent", 100)
    with open(path, "wb") as file:
        file.truncate(2**40)  # sparse
    with pytest.raises(OSError, match="more than the"):
        read_text(path)
