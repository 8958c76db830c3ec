#!/bin/bash
# Exit code alone: no reward file.
set -e
diff /tests/merged.log /srv/logs/merged.log
test "$(tr -d '[:space:]' </srv/logs/errors.txt)" = 2
