"""A kind of key that nobody else has, and the rule by which a scanner finds it and asks whether it works."""

from __future__ import annotations

import textwrap
from pathlib import Path

LIVE, DEAD = "gx_k2m9x4q7z1p5w8t3v6b0", "gx_c4n7b1v8x5z2q9m6w3r0"
RULE = """
    rules:
      - name: Gx key
        id: custom.gx
        pattern: '\\b(gx_[a-z0-9]{{20}})\\b'
        min_entropy: 1.0
        confidence: high
        examples: [gx_k2m9x4q7z1p5w8t3v6b0]
        validation:
          type: Http
          content:
            request:
              method: GET
              url: "{url}/check/{{{{ TOKEN }}}}"
              response_matcher:
                - report_response: true
                - type: StatusMatch
                  status: [200]
                - type: JsonValid
"""
CONFIG = """
    rules:
      paths: [{rules}]
      load_builtins: false
    global:
      allow_internal_ips: true
"""


def write_config(folder: Path, url: str) -> Path:
    """Write a configuration of kingfisher that knows this rule alone; at `url`, 200 means that a key works."""
    rules, config = folder / "rules.yml", folder / "kingfisher.yaml"
    rules.write_text(textwrap.dedent(RULE).format(url=url))
    config.write_text(textwrap.dedent(CONFIG).format(rules=rules))
    return config
