# PostgreSQL on 127.0.0.1:5432, with a database `shop` of a user `shop`.
bin=$(ls -d /usr/lib/postgresql/*/bin | tail -n 1)
runuser -u postgres -- "$bin/initdb" --pgdata=/tmp/postgresql --auth-local=trust --auth-host=scram-sha-256 --no-sync \
    --username=postgres > /dev/null &&
runuser -u postgres -- "$bin/pg_ctl" --pgdata=/tmp/postgresql --log=/tmp/postgresql.log --wait \
    --options='-c fsync=off -c listen_addresses=127.0.0.1 -k /tmp' start > /dev/null &&
psql -h /tmp -U postgres -q -c "create role shop login password 'secret'" -c 'create database shop owner shop' postgres
