"""What holds for every test: no model hub, and Hypothesis without a stopwatch."""

import os

from hypothesis import settings

# Must be set before huggingface_hub is imported by whoever imports it first.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"

# Two cores may be shared by several test processes: a slow example is no bug.
settings.register_profile("atelier", deadline=None, max_examples=100)
settings.load_profile("atelier")
