-- name: insert_picture
INSERT INTO pictures (tenant_id, image_id, attempt, sha256, byte_count, content_type, width, height, object_path,
    spool_name)
VALUES (%(tenant_id)s, %(image_id)s, %(attempt)s, %(sha256)s, %(byte_count)s, %(content_type)s, %(width)s,
    %(height)s, %(object_path)s, %(spool_name)s);

-- name: pictures_to_store
SELECT tenant_id, image_id, spool_name, object_path, sha256, byte_count, content_type
FROM pictures
WHERE store_time IS NULL AND create_time < clock_timestamp() - make_interval(secs => %(age_seconds)s)
ORDER BY create_time
LIMIT %(limit)s;

-- name: mark_stored
UPDATE pictures
SET store_time = coalesce(store_time, clock_timestamp())
WHERE tenant_id = %(tenant_id)s AND image_id = %(image_id)s;

-- name: spooled_picture
SELECT tenant_id, image_id, spool_name, object_path, sha256, byte_count, content_type
FROM pictures
WHERE tenant_id = %(tenant_id)s AND image_id = %(image_id)s;

-- name: expected_picture
SELECT images.width, images.height, images.output_format, attempts.session_id, attempts.gpu_id,
    extract(epoch FROM clock_timestamp() - attempts.claim_time)::float8 AS seconds_since_claim
FROM images JOIN attempts USING (image_id, attempt)
WHERE images.image_id = %(image_id)s AND images.state = 'RUNNING' AND images.attempt = %(attempt)s
    AND images.claim_token = %(claim_token)s;
