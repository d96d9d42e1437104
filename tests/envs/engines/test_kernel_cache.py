"""Kernels that were cut short are removed from Warp's cache, and no others."""

import shutil
from pathlib import Path

import pytest
import warp as wp

import envs
from envs.engines.kernel_cache import remove_damaged


@pytest.fixture
def cache(tmp_path):
    """A copy of the cache that an environment has filled."""
    envs.make("cartpole-swingup", 1, threads=1, image_size=16).close()
    return shutil.copytree(Path(str(wp.config.kernel_cache_dir)), tmp_path / "cache")


def test_a_file_that_was_cut_is_removed_with_its_module(cache):
    assert remove_damaged(cache) == []
    assert remove_damaged(cache / "absent") == []
    ends = (".meta", ".o", ".cubin")
    files = [path for path in sorted(cache.glob("*/*")) if path.suffix in ends]
    assert len(files) >= 2
    for path in files[:6]:
        whole = path.read_bytes()
        for size in (0, 1, len(whole) // 2, len(whole) - 1):
            kept = shutil.copytree(path.parent, cache.parent / "kept")
            path.write_bytes(whole[:size])
            assert remove_damaged(cache) == [path.parent], (path, size)
            assert not path.parent.exists()
            shutil.move(kept, path.parent)
    assert remove_damaged(cache) == []


def test_what_another_process_is_compiling_stays(tmp_path):
    folder = tmp_path / "wp_render_1a2b_p30416_t140257307405184"
    folder.mkdir()
    (folder / "render.o").write_bytes(b"half")
    assert remove_damaged(tmp_path) == [] and folder.is_dir()
    folder.rename(tmp_path / "wp_render_1a2b")
    assert remove_damaged(tmp_path) == [tmp_path / "wp_render_1a2b"]
