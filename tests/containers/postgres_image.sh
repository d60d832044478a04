#!/bin/sh
# What compose.yaml asks of a PostgreSQL image: a cluster made at the first start from the same
# variables as the official image's, then the server as the user that owns it.
set -eu
data=/var/lib/postgresql/data
programs=$(echo /usr/lib/postgresql/*/bin)
PATH=$programs:$PATH
as_postgres() { setpriv --reuid postgres --regid postgres --init-groups "$@"; }

if [ ! -e "$data/PG_VERSION" ]; then
    install --directory --owner postgres --group postgres --mode 0700 "$data"
    # Word by word, as the official image takes it.
    # shellcheck disable=SC2086
    as_postgres initdb --pgdata "$data" --username postgres --auth-host "$POSTGRES_HOST_AUTH_METHOD" \
        --pwfile "$POSTGRES_PASSWORD_FILE" $POSTGRES_INITDB_ARGS
    echo "host all all all $POSTGRES_HOST_AUTH_METHOD" >> "$data/pg_hba.conf"
    as_postgres pg_ctl --pgdata "$data" --wait --options "-c listen_addresses= -k /tmp" start
    PGPASSWORD=$(cat "$POSTGRES_PASSWORD_FILE") as_postgres \
        createdb --host /tmp --username postgres "$POSTGRES_DB"
    as_postgres pg_ctl --pgdata "$data" --wait stop
fi
exec setpriv --reuid postgres --regid postgres --init-groups \
    postgres -D "$data" -c "listen_addresses=*" -k /tmp
