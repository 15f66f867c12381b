#!/bin/sh
# The roles and databases of a new server, for its superuser to make: `sdc` owns the catalog and
# may do nothing else, and `catalog_reader` reads it. The image of PostgreSQL runs this when it makes
# its folder; run again, it sets the passwords anew and leaves the rest.
set -eu
SECRETS=${SECRETS:-/run/secrets}
export SECRETS
psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
\set owner_password `cat "$SECRETS/sdc_password"`
\set reader_password `cat "$SECRETS/reader_password"`
SELECT format('CREATE ROLE %I', name) FROM unnest(ARRAY['sdc', 'catalog_reader']) name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE sdc LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION PASSWORD :'owner_password';
ALTER ROLE catalog_reader LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION
    CONNECTION LIMIT 20 PASSWORD :'reader_password';
-- As the migrations do where they may: what one login as the reader may take of the server.
ALTER ROLE catalog_reader SET statement_timeout = '30s';
ALTER ROLE catalog_reader SET default_transaction_read_only = on;
ALTER ROLE catalog_reader SET search_path = catalog, public;
ALTER ROLE catalog_reader SET work_mem = '16MB';
ALTER ROLE catalog_reader SET hash_mem_multiplier = 1;
ALTER ROLE catalog_reader SET temp_file_limit = '1GB';
ALTER ROLE catalog_reader SET idle_in_transaction_session_timeout = '60s';
SELECT format('CREATE DATABASE %I', name) FROM unnest(ARRAY['sdc', 'prefect']) name
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec
ALTER DATABASE sdc OWNER TO sdc;
ALTER DATABASE prefect OWNER TO sdc;
REVOKE CONNECT ON DATABASE postgres, template1, prefect FROM PUBLIC;
\connect sdc
-- No other may make it: its code runs in the server.
CREATE EXTENSION IF NOT EXISTS vector;
-- Locks by numbers, large objects and messages of the log, of which a server has only so many.
SELECT format('REVOKE EXECUTE ON FUNCTION %s FROM PUBLIC', oid::regprocedure) FROM pg_proc
WHERE pronamespace = 'pg_catalog'::regnamespace
    AND (proname ~ '^pg_(try_)?advisory_(xact_)?lock(_shared)?$'
         OR proname IN ('lo_creat', 'lo_create', 'lo_from_bytea', 'pg_logical_emit_message')) \gexec
\connect prefect
CREATE EXTENSION IF NOT EXISTS pg_trgm;
SQL
