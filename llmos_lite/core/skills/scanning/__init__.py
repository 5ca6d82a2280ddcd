"""The rules of the house for skills that harm: what they look for is in docs/scan.md."""
