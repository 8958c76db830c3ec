"""Compare the files with what they are to be; the reward is the share of those that are right."""

import json
import sys
from pathlib import Path

WANTED = {
    "common": {"name": "shop", "currency": "EUR"},
    "dev": {"port": 8000, "debug": True},
    "live": {"port": 80, "debug": False},
    "test": {"port": 8080, "debug": False},
}
right = []
for name, settings in WANTED.items():
    path = Path("/app/settings") / f"{name}.json"
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    right.append(path.is_file() and path.read_text() == text)
readme = Path("/app/README.md")
right.append(readme.is_file() and readme.read_text() == "# Settings\n\nOne file for each environment.\n")
reward = sum(right) / len(right) if any(right[:-1]) else 0.0
Path("/logs/verifier/reward.json").write_text(json.dumps({"reward": reward, "files": sum(right)}))
print(f"{sum(right)} of {len(right)} are right")
sys.exit(0 if all(right) else 1)
