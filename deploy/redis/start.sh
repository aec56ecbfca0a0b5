#!/bin/sh
# The default user is off; ours may touch only what begins with our prefix. Celery needs scripts,
# transactions, subscriptions and INFO; nothing of it is an administrator's command.
set -eu
: "${REDIS_PASSWORD:?}"
umask 077
cat > /tmp/users.acl <<END
user default off
user reinstate on >${REDIS_PASSWORD} ~reinstate:* ~_kombu* ~/*.reinstate* &* +@all -@admin -@dangerous +info +keys
END
exec redis-server /etc/reinstate/redis.conf --aclfile /tmp/users.acl "$@"
