"""Volumes: what containers find below their mount paths. Setting up and tearing down may be repeated at any time."""
