"""Telemetry of other programs (OpenTelemetry, OTLP) as traces, and of this one for others."""
