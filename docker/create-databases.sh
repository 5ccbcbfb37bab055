#!/bin/sh
# Run once by the PostgreSQL image when its data folder is new: two databases, each with an owner of its own.
set -eu

create() {
  # psql quotes the values itself (:"name", :'password'), so that any character may stand in a password.
  psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres \
    --set name="$1" --set password="$2" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name" ENCODING 'UTF8' TEMPLATE template0;
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
}

create airflow "$AIRFLOW_DB_PASSWORD"
create crosswalk "$CROSSWALK_DB_PASSWORD"
