"""Draw two pictures of one prompt and save them: `python examples/generate.py FOLDER`."""

import sys
from pathlib import Path

import atelier

folder = Path(*sys.argv[1:2])
with atelier.Client() as client:  # address and key from ATELIER_ADDRESS and ATELIER_API_KEY
    for picture in client.generate("a photo of a red mug", count=2):
        path = folder / f"mug-{picture.image.image_number}.png"
        picture.save(path)
        print(f"{path}: seed {picture.seed}, {picture.receipt.energy_millijoules} mJ")
