"""Compare HMAX with a convolutional network, layer by layer, on a folder of stimuli.

Run it as it is for crops of the built-in pictures, or give a folder of images:

    python analyses/hmax_against_cnn.py [FOLDER] [--model vgg19] [--weights FILE]
"""

import argparse
from pathlib import Path

import cnnperception as cp
from cnnperception.demo import crops
from cnnperception.recipes import run_rsa

SIZE = 128  # pixels, to which every image is resized
METRIC, METHOD = "correlation", "spearman"
OUTPUT = Path(__file__).parents[1] / "reports" / "hmax_against_cnn"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help="images; built-in ones if left out")
    parser.add_argument("--model", default="vgg11", help="the network, by name")
    parser.add_argument("--weights", help="DEFAULT, or a file; random weights if left out")
    parser.add_argument("--output", type=Path, default=OUTPUT)
    parser.add_argument("--device", default="auto")
    settings = parser.parse_args()

    stimuli = cp.StimulusSet.from_folder(settings.folder) if settings.folder else crops(seed=0)
    network = cp.load_model(settings.model, weights=settings.weights, device=settings.device)
    models = [cp.load_model("hmax", device=settings.device), network]
    table, report = run_rsa(
        models,
        stimuli,
        settings.output,
        size=SIZE,
        metric=METRIC,
        method=METHOD,
        progress=True,
    )
    print(table.to_string())
    print(report)


if __name__ == "__main__":
    main()
