#!/bin/bash
cd /app/settings
python3 - <<'END'
import json
from pathlib import Path

files = {path: json.loads(path.read_text()) for path in sorted(Path(".").glob("*.json"))}
first, *others = files.values()
common = {key: value for key, value in first.items() if all(other.get(key) == value for other in others)}
files = {path: {key: value for key, value in settings.items() if key not in common} for path, settings in files.items()}
for path, settings in {Path("common.json"): common, **files}.items():
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n")
END
