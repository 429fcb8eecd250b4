"""Fetching public data sets, from a server of files made here."""

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cnnperception import datasets


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Serve a folder in place of the public one; yield the folder."""
    place = tmp_path / "public"
    place.mkdir()
    hashes = {}
    for name in datasets.SHA256:
        (place / name).write_bytes(name.encode())
        hashes[name] = hashlib.sha256(name.encode()).hexdigest()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(place))
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=running.serve_forever)
    thread.start()
    monkeypatch.setattr(datasets, "PUBLIC_PLACE", f"http://127.0.0.1:{running.server_port}/")
    monkeypatch.setattr(datasets, "SHA256", hashes)
    yield place
    running.shutdown()
    thread.join()
    running.server_close()


def test_files_are_fetched_once(server: Path, tmp_path: Path) -> None:
    folder = datasets.fetch_92images(tmp_path / "kept")
    assert {path.name for path in folder.iterdir()} == set(datasets.SHA256)
    for name in datasets.SHA256:
        (server / name).unlink()
    assert datasets.fetch_92images(tmp_path / "kept") == folder


def test_another_file_under_the_name_is_refused_and_not_kept(server: Path, tmp_path: Path) -> None:
    (server / datasets.HUMAN_FILE).write_text("something else")
    with pytest.raises(ValueError, match="hash"):
        datasets.fetch_92images(tmp_path / "kept")
    assert not (tmp_path / "kept" / datasets.HUMAN_FILE).exists()


def test_without_the_file_the_error_says_what_to_do(server: Path, tmp_path: Path) -> None:
    (server / datasets.IMAGES_FILE).unlink()
    with pytest.raises(ConnectionError, match="yourself and give that to load_92images"):
        datasets.fetch_92images(tmp_path / "kept")
