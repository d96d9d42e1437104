"""Draw docs/images/dream-page.png: `python docs/screenshot.py FOLDER`, of agents.export_dream.

Needs `pip install playwright` and Chromium on the path.
"""

import functools
import shutil
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from playwright.sync_api import sync_playwright

PICTURE = Path(__file__).parent / "images" / "dream-page.png"
SIZE = {"width": 1080, "height": 790}
DECISIONS = 150  # that the agent plays first


class Quiet(SimpleHTTPRequestHandler):
    """A file server that logs nothing."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def main(folder: str) -> None:
    """Serve the page, let the agent play, and write what is seen."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sync_playwright() as browsers:
        browser = browsers.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport=SIZE, color_scheme="dark")
        page.goto(f"http://127.0.0.1:{server.server_port}/")
        page.wait_for_function(
            f"window.dream && dream.play.decisions >= {DECISIONS}", timeout=120_000
        )
        page.screenshot(path=PICTURE)
        browser.close()
    server.shutdown()


if __name__ == "__main__":
    main(sys.argv[1])
