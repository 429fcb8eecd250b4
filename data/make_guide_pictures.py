"""Run the guide's pages and keep the pictures that they show, in docs/guide/pictures.

From the root of the project: python -m data.make_guide_pictures [name of a page ...]
"""

import shutil
import sys
import tempfile
from pathlib import Path

from tests import examples

GUIDE = Path(__file__).parents[1] / "docs" / "guide"


def main(wanted: list[str]) -> None:
    for page in sorted(GUIDE.glob("*.md")):
        shown = examples.pictures(page)
        if not shown or (wanted and page.stem not in wanted):
            continue
        with tempfile.TemporaryDirectory() as folder:
            examples.run(page, Path(folder))
            (GUIDE / "pictures").mkdir(exist_ok=True)
            for name in shown:
                shutil.copyfile(Path(folder) / name, GUIDE / "pictures" / name)
                print(name, (GUIDE / "pictures" / name).stat().st_size)


if __name__ == "__main__":
    main(sys.argv[1:])
