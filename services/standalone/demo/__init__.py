"""`make demo`: two studios' campaigns drawn at once, billed, and checked to the last digit."""
