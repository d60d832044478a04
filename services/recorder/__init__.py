"""The workers' counterpart: hands out images, takes results, and is the only writer of them."""
