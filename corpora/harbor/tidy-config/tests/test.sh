#!/bin/bash
python3 -P -I /tests/check.py
