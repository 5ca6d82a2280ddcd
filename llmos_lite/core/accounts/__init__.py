"""People, teams, roles and what they may do."""
