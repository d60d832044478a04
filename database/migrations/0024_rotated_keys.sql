-- A key that gets a new secret: the old one lives on beside it for a while, never a third. And from where a key may
-- be used.
ALTER TABLE api_keys
    ADD COLUMN old_secret_hmac bytea CHECK (length(old_secret_hmac) = 32),
    ADD COLUMN old_secret_expire_time timestamptz,
    ADD COLUMN rotate_time timestamptz,
    -- Empty: from anywhere.
    ADD COLUMN allowed_networks cidr[] NOT NULL DEFAULT '{}',
    ADD CONSTRAINT api_keys_old_secret_has_an_end CHECK ((old_secret_hmac IS NULL) = (old_secret_expire_time IS NULL));
