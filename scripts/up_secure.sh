#!/usr/bin/env bash
# Runs the services in containers with TLS and API keys, and the demo client once. The keys stay in build/secure.env, for the
# next time and for who wants to talk to the services; they are made anew when the store does not know them any more.
set -euo pipefail
cd "$(dirname "$0")/.."
export COMPOSE_FILE="${COMPOSE_FILE:-docker-compose.yml}:docker-compose.secure.yml"
keys=build/secure.env

loragen_there() { docker compose exec -T -e LORAGEN_API_KEY="$LORAGEN_API_KEY" cloud loragen "$@"; }

mkdir -p build
docker compose up --build --detach --wait cloud
LORAGEN_API_KEY="" EDGE_API_KEY=""
# shellcheck source=/dev/null
[ ! -f "$keys" ] || . "$keys"
if [ -z "$LORAGEN_API_KEY" ] || ! loragen_there keys list >/dev/null; then
    LORAGEN_API_KEY="$(loragen_there keys bootstrap)"
    EDGE_API_KEY="$(loragen_there keys create "the device" --device compose-device)"
fi
docker compose cp cloud:/tls/certificate.pem build/certificate.pem
(
    umask 077
    printf 'export %s=%s\n' LORAGEN_API_KEY "$LORAGEN_API_KEY" EDGE_API_KEY "$EDGE_API_KEY" \
        LORAGEN_URL "https://localhost:${CLOUD_PORT:-8080}" SSL_CERT_FILE "$PWD/build/certificate.pem" >"$keys.new"
)
mv "$keys.new" "$keys"
export LORAGEN_API_KEY EDGE_API_KEY
docker compose up --detach --wait edge
docker compose run --rm client
printf 'up-secure: to talk to the services: . %s\n' "$keys"
