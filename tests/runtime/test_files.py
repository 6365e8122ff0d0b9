import stat
from concurrent.futures import ThreadPoolExecutor

from runtime import files


def test_a_file_is_written_once_and_for_its_owner(tmp_path):
    path = tmp_path / "new" / "secret"
    assert files.write_once(path, b"first")
    assert not files.write_once(path, b"second")
    assert path.read_bytes() == b"first"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["secret"]


def test_of_many_writers_at_once_one_wins_and_all_agree(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        secrets = set(pool.map(lambda _: files.secret(tmp_path / "secret"), range(32)))
    assert len(secrets) == 1
    assert len(secrets.pop()) >= 43


def test_replace_leaves_nothing_beside_the_file(tmp_path):
    files.replace(tmp_path / "state", b"one")
    files.replace(tmp_path / "state", b"two")
    assert (tmp_path / "state").read_bytes() == b"two"
    assert [each.name for each in tmp_path.iterdir()] == ["state"]


def test_a_directory_that_was_open_is_closed(tmp_path):
    path = tmp_path / "open"
    path.mkdir(mode=0o755)
    assert stat.S_IMODE(files.private_directory(path).stat().st_mode) == 0o700
