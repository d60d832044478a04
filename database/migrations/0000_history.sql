-- What the runner notes about the files it applied. It runs before the others, every time.
CREATE TABLE IF NOT EXISTS applied_migrations (
    number      integer PRIMARY KEY,
    title       text NOT NULL,
    sha256      text NOT NULL,
    apply_time  timestamptz NOT NULL DEFAULT now()
);
-- Whoever looks after the installation may see which schema it has (`atelier admin doctor`).
GRANT SELECT ON applied_migrations TO atelier_operator;
