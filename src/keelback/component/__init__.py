"""What every component needs: HTTP on both sides of TLS, streams, flags, feature gates, logs, metrics, health."""
