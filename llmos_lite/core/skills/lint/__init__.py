"""How well a skill is written: what the checks look for is in docs/lint.md. They warn; they refuse nothing."""
