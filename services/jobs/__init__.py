"""The record of a job and its images: states, which may follow which, and who moves them."""
