-- How fast a card's multiprocessors ran when its sensors were read; NULL where no driver says so.
ALTER TABLE gpu_samples ADD COLUMN clock_megahertz integer CHECK (clock_megahertz >= 0);
