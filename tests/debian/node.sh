#!/bin/sh
# In the place of Node, which takes long to start where the processor is emulated: its program is the version and the
# behaviour of a server in Python.
echo "worker ${WOCUT_WORKER:-none} starts"
exec python3 /wocut/tests/src/web.py $(cat "$1")
