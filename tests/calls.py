"""What users' own programs call the tests' servers with."""

import httpx

CALLS = httpx.Client(
    timeout=20, verify=False, limits=httpx.Limits(max_keepalive_connections=0), trust_env=False
)
"""A connection for each call, since servers come and go. One client for all: each that is made
reads the certificates of all authorities, for 20 ms."""
