"""Metrics, traces and log lines: every name is defined here once. The only room that knows OpenTelemetry."""
