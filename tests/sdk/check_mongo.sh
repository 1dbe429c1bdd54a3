#!/bin/sh
# check_mongo.sh KVPLUGIN PLUGIN: the kit on a store that is a collection of the server KV_MONGO_URI.
# The time-out is long: a server in a test may be slow, and the kit measures nothing.
set -u
exec "$1" check "$2" "uri=$KV_MONGO_URI" 'collection=check_{n}' timeout_ms=20000
