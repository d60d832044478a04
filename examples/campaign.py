"""Order a batch that never costs more than its quote, and save each picture as it comes.

`python examples/campaign.py FOLDER`. Sent again with the same request id, it orders nothing twice.
"""

import sys
from pathlib import Path

import atelier
from atelier.errors import InsufficientBalanceError
from atelier.job_states import image_came
from atelier.money import format_money

PROMPTS = ["a red mug", atelier.ImageSpec(prompt="a blue vase", seed=7), "a green chair"]
REQUEST_ID = "6f7f4c2e-7d0b-4c56-9b2a-5d1c0c3f2a10"

folder = Path(*sys.argv[1:2])
with atelier.Client() as client:
    quote = client.quote_job(PROMPTS)
    try:
        job = client.create_job(PROMPTS, max_cost=quote.hold, request_id=REQUEST_ID)
    except InsufficientBalanceError as error:
        sys.exit(f"top up first: {error}")
    for image in job.images():
        if image_came(image):
            client.save_image(image.name, folder / f"{image.image_number}.png")
        else:
            print(f"image {image.image_number} did not come: {image.failure.message}")
    finished = job.wait()
    print(f"{finished.succeeded_count} pictures for {format_money(finished.price)}")
