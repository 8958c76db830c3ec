#!/bin/bash
cd /srv/logs
cat east.log west.log north.log | sort -u > merged.log
grep -c ' 5[0-9][0-9] ' merged.log > errors.txt
