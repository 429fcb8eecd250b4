"""Train the two small networks that come with the package.

Run from the root of the project: python data/make_object_weights.py [supervised|self-supervised]
An interrupted training goes on where it was. On a GPU, add cuda.
"""

import sys
from pathlib import Path

from cnnperception import runtime
from cnnperception.models.objects_vgg import EMBEDDED, save_small_vgg
from cnnperception.objects import CATEGORIES, ObjectScenes
from cnnperception.training import Course, learn_crops, learn_objects

CURVES = Path("reports/training")
SHOWN = ObjectScenes(
    size=64,
    variation="high",
    background=("noise", "texture", "clutter", "clutter"),
    exemplars=range(200),
    seed=1,
)
# Other exemplars, and other places and parts behind them.
HELD_OUT = ObjectScenes(
    size=64, variation="high", background="clutter", exemplars=range(1000, 1200), seed=2
)
TESTED = 3200
COURSES = {
    "supervised": Course(steps=3200, batch=128, rate=3e-3, seed=0),
    "self-supervised": Course(steps=800, batch=192, rate=2e-3, seed=0),
}


def main() -> None:
    """Train those that are asked for, both by default; write weights and curves."""
    device = str(runtime.choose_device("cuda" if "cuda" in sys.argv else "cpu"))
    for kind in [name for name in COURSES if name in sys.argv] or list(COURSES):
        course, path = COURSES[kind], EMBEDDED[kind]
        running = {"device": device, "checkpoint": f"{path}.checkpoint", "progress": True}
        if kind == "supervised":
            numbers = range(TESTED)
            held_out = HELD_OUT.pictures(numbers), HELD_OUT.labels(numbers)
            network, curve = learn_objects(SHOWN, held_out, course, **running)
            classes = CATEGORIES
        else:
            network, curve = learn_crops(course, **running)
            classes = ()
        record = {
            "task": kind,
            "course": vars(course),
            "script": "data/make_object_weights.py",
            "device": device,
            "versions": runtime.versions(),
            **{str(key): float(value) for key, value in curve.iloc[-1].items()},
        }
        save_small_vgg(path, network, classes, record)
        CURVES.mkdir(parents=True, exist_ok=True)
        curve.to_csv(CURVES / f"{kind}.csv", index=False)
        print(curve.to_string())


if __name__ == "__main__":
    main()
