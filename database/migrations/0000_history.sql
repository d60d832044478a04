-- What the runner notes about the files it applied. It runs before the others, every time.
CREATE TABLE IF NOT EXISTS applied_migrations (
    number      integer PRIMARY KEY,
    title       text NOT NULL,
    sha256      text NOT NULL,
    apply_time  timestamptz NOT NULL DEFAULT now()
);
